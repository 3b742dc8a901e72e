"""Workers as actors of a Ray cluster: the executor for more than one machine."""
