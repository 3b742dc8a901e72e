"""What waits for the GPU: bounded, in order, with a deadline, and never without an outcome."""

from miner.job_queue.identity_queue import IdentityQueue
from miner.job_queue.queue import JobQueue
from miner.job_queue.snapshot import JobLine, QueueSnapshot
from miner.job_queue.ticket import Ticket

__all__ = ["IdentityQueue", "JobLine", "JobQueue", "QueueSnapshot", "Ticket"]
