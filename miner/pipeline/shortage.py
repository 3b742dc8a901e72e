"""Running out of memory inside a stage: caught there, tried once more with less, and counted.

What does not fit the second time is the stage's failure, and whoever decides about generators
learns of it. Which "less" there is, each stage knows itself.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from miner.errors import OutOfMemory
from miner.gpu.device import Device
from miner.pipeline.out_of_memory import is_out_of_memory

Result = TypeVar("Result")

MOST = 256
"""Shortages remembered until somebody asks; a job has a few at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shortage:
    """Memory ran out once.

    Attributes:
        stage: where.
        recovered: it went with less.
    """

    stage: str
    recovered: bool


class Shortages:
    """Those that were not reported yet; any thread may add to them and take them.

    Attributes:
        ever: whether memory ran out at all, told or not.
    """

    def __init__(self) -> None:
        self.ever = False
        self._seen: deque[Shortage] = deque(maxlen=MOST)
        self._lock = threading.Lock()

    def add(self, stage: str, recovered: bool) -> None:
        """One more."""
        with self._lock:
            self.ever = True
            self._seen.append(Shortage(stage, recovered))

    def take(self) -> list[Shortage]:
        """All since the last time."""
        with self._lock:
            seen = list(self._seen)
            self._seen.clear()
        return seen


def with_less(
    stage: str,
    device: Device,
    shortages: Shortages,
    usual: Callable[[], Result],
    smaller: Callable[[], Result],
) -> Result:
    """What ``usual`` gives or, where memory ran out under it, what ``smaller`` gives.

    In between everything the first try held is let go and the device's cache handed back.

    Args:
        stage: for the count and the log.
        device: whose memory it is.
        shortages: told of it.
        usual: the work.
        smaller: the same with less memory: in pieces, or of fewer pixels.

    Raises:
        OutOfMemory: or what a library raises for it: it did not fit the second time either.
    """
    try:
        return usual()
    except Exception as error:
        if not is_shortage(error):
            raise
        log.warning("%s: out of memory, tried once more with less", stage)
        let_go(error)
    device.release()  # outside the clause: the error and its frames are gone now
    try:
        result = smaller()
    except Exception as error:
        if is_shortage(error):
            shortages.add(stage, recovered=False)
        raise
    shortages.add(stage, recovered=True)
    return result


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out: our error for it, or a library's."""
    return isinstance(error, OutOfMemory) or is_out_of_memory(error)


def let_go(error: BaseException | None) -> None:
    """Clears the variables of every frame of an error, of its causes and of their contexts."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            left += [one.__cause__, one.__context__]
