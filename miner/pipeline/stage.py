"""What all stages share: timing, a cancel flag, and one border where foreign errors become ours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from miner.errors import MinerError, OutOfMemory, StageError
from miner.gpu.device import Device
from miner.pipeline.cancel import CancelFlag
from miner.pipeline.out_of_memory import is_out_of_memory

__all__ = ["CancelFlag", "Timings", "is_out_of_memory", "stage", "translated"]

Timings = dict[str, float]
"""Seconds by name of the stage, in the order in which the stages ran."""


@contextlib.contextmanager
def stage(name: str, device: Device, timings: Timings, cancel: CancelFlag) -> Iterator[None]:
    """Runs a block as the stage ``name``.

    The block's wall-clock seconds, with everything it queued on the device, are added to
    ``timings``, also when it fails.

    Raises:
        JobCancelled: cancelled before the stage began.
        OutOfMemory: the block ran out of memory; what the device cached is handed back.
        StageError: the block raised something that is not ours.
    """
    cancel.check()
    start = time.perf_counter()
    try:
        with translated(name):
            yield
            device.synchronize()
    finally:
        timings[name] = timings.get(name, 0.0) + time.perf_counter() - start


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turns foreign exceptions of the block into those of the stage ``name``; ours pass through."""
    try:
        yield
    except MinerError:
        raise
    except Exception as error:  # the border: whatever a library raises becomes one of ours here
        if is_out_of_memory(error):
            raise OutOfMemory(name, "the device ran out of memory") from error
        reason = (str(error).strip() or "no reason given").splitlines()[0][:300]
        raise StageError(name, f"{type(error).__name__}: {reason}") from error
