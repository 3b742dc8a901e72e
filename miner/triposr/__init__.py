"""Our TripoSR: from one picture to a density and colour field, and from there to Gaussians."""

from miner.triposr.model import TripoSR

__all__ = ["TripoSR"]
