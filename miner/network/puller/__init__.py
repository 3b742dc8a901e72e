"""The intake that pulls: asks validators for tasks and brings them the results."""

from miner.network.puller.clocks import Clocks
from miner.network.puller.puller import Puller, PullParts

__all__ = ["Clocks", "PullParts", "Puller"]
