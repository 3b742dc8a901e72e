"""What all trainers share: an average of the weights, a learning-rate schedule, and checkpoints."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
from torch import nn


def learning_rate(step: int, progress: float, warmup: int = 150) -> float:
    """Factor on the base rate: linear warm-up in steps, then a cosine over ``progress``."""
    return min(1.0, (step + 1) / warmup) * (
        0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    )


class Average:
    """An exponential moving average of a module's weights, young averages following faster.

    Attributes:
        module: a copy of the module that holds the averaged weights.
    """

    def __init__(self, module: nn.Module, decay: float = 0.998) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's present weights."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        mine, theirs = self.module.state_dict(), module.state_dict()
        names = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in names], [theirs[n] for n in names], weight)

    def save(
        self,
        path: Path,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        step: int,
        spent: float,
    ) -> None:
        """Write all that is needed to go on, by way of a second file: a crash loses nothing."""
        state = {
            "average": self.module.state_dict(),
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": spent,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def resume(
        self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, float]:
        """Load a checkpoint if there is one; the steps and seconds it had taken."""
        if not path.exists():
            return 0, 0.0
        state = torch.load(path, weights_only=True)
        self.module.load_state_dict(state["average"])
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["spent"])
