"""Checks of the machine and its settings, before a start and by hand: ``miner doctor``."""
