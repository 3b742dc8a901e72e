"""Where a model waits until it is needed: on the device, in the host's memory, or on disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from miner.gpu.counted import TOLERANCE
from miner.gpu.device import Device
from miner.pipeline.shortage import is_shortage
from miner.settings.memory import Residency

ALWAYS_HERE = ("resident", "streamed", "cpu")
"""What is streamed moves its own weights; what the CPU computes has none on the device."""
LOADED_LATE = ("segmented", "disk")
"""Loaded when used, and dropped afterwards."""

OVER_BYTES = 16 << 20
"""Weights may be over the plan by so much more than its tolerance: the figures of the catalogue
leave small tensors out, which is a large share of a small model."""

log = logging.getLogger(__name__)


class Parkable(Protocol):
    """A loaded model, or several that are used together."""

    def park(self) -> None:
        """Moves what it holds from the device to the host's memory."""

    def wake(self) -> None:
        """Moves it back."""


Model = TypeVar("Model", bound=Parkable)


class Residence(Generic[Model]):
    """One model, brought to the device when it is needed and taken away when it is not.

    Args:
        load: makes it, on the device or, where ``loads_parked``, in the host's memory.
        residency: where it waits.
        keep_seconds: how long it stays on the device without use; 0 takes it away at once.
        device: whose memory is handed back.
        clock: monotonic seconds.
        name: of the component, for the log and the measured peaks.
        loads_parked: what ``load`` makes has to be woken.
        planned_bytes: of its weights; 0 where no plan says. A model that says its own ``bytes`` is
            compared with them the first time it is loaded.

    Attributes:
        name: as given.
        brought_seconds: what it took to bring it the last time; 0 while it was always there.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        residency: Residency,
        keep_seconds: float,
        device: Device,
        clock: Callable[[], float] = time.monotonic,
        name: str = "",
        loads_parked: bool = False,
        planned_bytes: int = 0,
    ) -> None:
        self.brought_seconds = 0.0
        self.residency = residency
        self.name = name
        self._load = load
        self._keep_seconds = keep_seconds
        self._device = device
        self._clock = clock
        self._loads_parked = loads_parked
        self._planned_bytes = planned_bytes
        self._weighed = planned_bytes == 0
        self._model: Model | None = None if residency in LOADED_LATE else self._loaded()
        self._here = self._model is not None and not loads_parked
        self._stirred = self._here  # has weights on the device, or may have some
        if residency in ALWAYS_HERE and not self._here:
            self.bring()
            self.brought_seconds = 0.0
        if residency == "host":  # a library may have put it on the device whatever was wanted
            self._take_away()
        self._used_at = clock()

    def put_around(self, wrap: Callable[[Model], Model]) -> None:
        """Has something stand in front of the model, whenever it is loaded."""
        load = self._load
        self._load = lambda: wrap(load())
        if self._model is not None:
            self._model = wrap(self._model)

    @property
    def here(self) -> bool:
        """Whether it is on the device."""
        return self._here

    @property
    def visits(self) -> bool:
        """Whether it is on the device and does not stay there."""
        return self._here and self.residency not in ALWAYS_HERE

    def bring(self) -> Model:
        """The model, on the device."""
        began = self._clock()
        self._device.reset_peak()
        was_here, self._stirred = self._here, True
        if self._model is None:
            self._model = self._loaded()
            self._here = not self._loads_parked
        if not self._here:
            with self._shortage_named():
                self._model.wake()
            self._here = True
        if not was_here:
            self.brought_seconds = self._clock() - began
            self._tell("brought", self.brought_seconds)
        self._used_at = self._clock()
        return self._model

    @contextmanager
    def in_use(self) -> Iterator[Model]:
        """The model, on the device for the block and for as long after it as it may stay."""
        try:
            yield self.bring()
        finally:
            self.used()

    def rest(self) -> None:
        """Takes it away if it was not used for long; to be called between jobs."""
        idle = self._clock() - self._used_at
        if self._may_go() and idle > self._keep_seconds:
            self._take_away()

    def used(self) -> None:
        """Its time without use begins now."""
        self._used_at = self._clock()
        if self.name:
            self._device.note_peak(self.name)
        if self._keep_seconds == 0 and self._may_go():
            self._take_away()

    def _loaded(self) -> Model:
        """A model newly loaded, compared with the plan."""
        with self._shortage_named():
            model = self._load()
        found = int(getattr(model, "bytes", 0))
        if not self._weighed and found:
            self._weighed = True
            if found > self._planned_bytes * (1 + TOLERANCE) + OVER_BYTES:
                log.warning(
                    "%s: its weights take %d MiB, planned were %d MiB: the plan may not fit",
                    *(self.name, found >> 20, self._planned_bytes >> 20),
                )
        return model

    @contextmanager
    def _shortage_named(self) -> Iterator[None]:
        """Says for which component memory ran out, as its stage may have several."""
        try:
            yield
        except Exception as error:
            if self.name and is_shortage(error):
                planned = self._planned_bytes >> 20
                log.warning(
                    "%s: out of memory while loading it; planned %d MiB", self.name, planned
                )
            raise

    def _may_go(self) -> bool:
        """Also what failed on its way here: half of it may lie on the device."""
        return self._stirred and self.residency not in ALWAYS_HERE

    def _take_away(self) -> None:
        began = self._clock()
        if self.residency == "host" and self._model is not None:
            self._model.park()
        else:
            self._model = None
        self._here = self._stirred = False
        self._device.release()
        self._tell("away", self._clock() - began)

    def _tell(self, what: str, seconds: float) -> None:
        if self.name:
            level = logging.INFO if self.residency == "segmented" else logging.DEBUG
            log.log(level, "%s: %s in %.2f s", self.name, what, seconds)
