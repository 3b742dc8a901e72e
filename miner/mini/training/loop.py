"""The loop all trainers share: a clock, a learning rate that follows it, an average, checkpoints.

A run is a folder with ``last.pt``, from which it goes on, and ``curve.jsonl``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from .averaging import Average, learning_rate

CLIP = 1.0
"""Largest norm of a gradient: single batches of hard objects must not undo a hundred others."""


class Loop:
    """Steps of training until the run's own time is up.

    Iterate over it; in each step call ``descend`` once and ``log`` as often as wanted.

    Args:
        run: the run's folder, made where it is not there.
        module: what is trained.
        optimizer: over its parameters, at their base rate.
        minutes: running time of the whole run, over all its resumptions; the rate decays with it.
        decay: of the average.
        keep_every: steps between two checkpoints.
        clock: seconds from anywhere.

    Attributes:
        average: the averaged weights, which are what is shipped.
        step: steps done, those before a resumption included.
    """

    def __init__(
        self,
        run: Path,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        minutes: float,
        decay: float = 0.998,
        keep_every: int = 250,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.average = Average(module, decay)
        self._module, self._optimizer = module, optimizer
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._seconds, self._keep_every, self._clock = minutes * 60, keep_every, clock
        self._checkpoint, self._curve = run / "last.pt", run / "curve.jsonl"
        self.step, self._spent = self.average.resume(self._checkpoint, module, optimizer)

    def __iter__(self) -> Iterator[int]:
        mark = self._clock()
        while self._spent < self._seconds:
            factor = learning_rate(self.step, self._spent / self._seconds)
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            yield self.step
            now = self._clock()
            self._spent, mark = self._spent + now - mark, now
            if self.step % self._keep_every == 0:
                self._save()
        self._save()

    def descend(self, loss: Tensor) -> None:
        """One step of the optimizer and of the average."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._module.parameters(), CLIP)
        self._optimizer.step()
        self.average.update(self._module, self.step)
        self.step += 1

    def log(self, every: int, **values: Tensor | float) -> None:
        """A line of the curve, in every so-manieth step."""
        if self.step % every:
            return
        row = {"step": self.step, "minutes": self._spent / 60}
        row |= {name: float(value) for name, value in values.items()}
        with self._curve.open("a", encoding="utf-8") as file:
            print(json.dumps(row), file=file)

    def _save(self) -> None:
        self.average.save(self._checkpoint, self._module, self._optimizer, self.step, self._spent)
