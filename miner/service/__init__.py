"""The daemon as a service of systemd: the text of its units, and putting them where they belong."""
