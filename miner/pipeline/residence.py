"""Where a generator waits until it is needed: on the device, in the host's memory, or on disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from miner.gpu.device import Device
from miner.pipeline.generator import Generator
from miner.settings.rollback import Residency


class Residence:
    """One generator, brought to the device when it is needed and taken away when it is not.

    Args:
        load: makes it, on the device.
        residency: where it waits. What is to wait on disk is loaded when first used.
        keep_seconds: how long it stays on the device without use.
        device: whose memory is handed back.
        clock: monotonic seconds.

    Attributes:
        brought_seconds: what it took to bring it the last time; 0 while it was always there.
    """

    def __init__(
        self,
        load: Callable[[], Generator],
        residency: Residency,
        keep_seconds: float,
        device: Device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.brought_seconds = 0.0
        self._load = load
        self._residency = residency
        self._keep_seconds = keep_seconds
        self._device = device
        self._clock = clock
        self._generator: Generator | None = None if residency == "disk" else load()
        self._here = residency == "resident"
        self._used_at = clock()
        if residency == "host":
            self._take_away()

    def put_around(self, wrap: Callable[[Generator], Generator]) -> None:
        """Has something stand in front of the generator, whenever it is loaded."""
        load = self._load
        self._load = lambda: wrap(load())
        if self._generator is not None:
            self._generator = wrap(self._generator)

    @property
    def here(self) -> bool:
        """Whether it is on the device."""
        return self._here

    def bring(self) -> Generator:
        """The generator, on the device."""
        began = self._clock()
        if self._generator is None:
            self._generator = self._load()
        elif not self._here:
            self._generator.wake()
        if not self._here:
            self._here = True
            self.brought_seconds = self._clock() - began
        self._used_at = self._clock()
        return self._generator

    def rest(self) -> None:
        """Takes it away if it was not used for long; to be called between jobs."""
        idle = self._clock() - self._used_at
        if self._here and self._residency != "resident" and idle > self._keep_seconds:
            self._take_away()

    def used(self) -> None:
        """Its time without use begins now."""
        self._used_at = self._clock()

    def _take_away(self) -> None:
        if self._residency == "host" and self._generator is not None:
            self._generator.park()
        else:
            self._generator = None
        self._here = False
        self._device.release()
