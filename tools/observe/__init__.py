"""Trying out how the miner is watched: ``python -m tools.observe``, or ``make observe``."""
