"""The daemon: what builds everything, joins it, and takes it down again in order."""
