"""What the daemon remembers: every accepted job, every outcome, nonces and decisions, in SQLite."""

from miner.journal.journal import Journal
from miner.journal.partition import Partition
from miner.journal.record import JournalStats, Record, SweepReport

__all__ = ["Journal", "JournalStats", "Partition", "Record", "SweepReport"]
