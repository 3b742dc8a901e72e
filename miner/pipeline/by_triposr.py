"""The first generator: TripoSR makes a field of a framed picture, its surface becomes Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Final

from torch import Tensor

from miner.gpu.device import Device
from miner.gpu.parking import Parking, weight_bytes
from miner.gpu.weights import WeightStore
from miner.pipeline.generator import Call, Lifted, Needs, Subject
from miner.pipeline.reconstruct import STAGE, SURFACE_STAGE, Reconstructor
from miner.settings import Preset, SurfaceKeys

SMALL_CHUNK: Final = 2048
"""Points of the field asked at a time when memory is short: a fourth of a CPU's, and on CUDA
little enough that the model itself is what remains."""


class ByTripoSR:
    """A loaded TripoSR as a generator.

    Attributes:
        reconstructor: the model.
        keys: of the surface.
    """

    def __init__(self, reconstructor: Reconstructor, keys: SurfaceKeys) -> None:
        self.reconstructor = reconstructor
        self.keys = keys
        self._parking: Parking | None = None  # once it has to go

    @classmethod
    def offered(cls, preset: Preset) -> bool:
        """Always: every preset says how."""
        return True

    @classmethod
    def needs(cls, preset: Preset) -> Needs:
        """A framed picture."""
        return "picture"

    @classmethod
    def weights(cls, preset: Preset) -> Sequence[str]:
        """Of its one folder."""
        return [preset.reconstruct.weights]

    @classmethod
    def load(
        cls,
        preset: Preset,
        store: WeightStore,
        device: Device,
        reading: Callable[[str], AbstractContextManager[Path]],
    ) -> ByTripoSR:
        """The model of the preset.

        Raises:
            WeightsError: the folder holds no such model.
        """
        with reading(preset.reconstruct.weights) as path:
            model = Reconstructor.load(path, preset.reconstruct, device)
        return cls(model, preset.surface)

    def generate(self, subject: Subject, call: Call) -> Lifted:
        """Gaussians on the surface that the picture suggests.

        Raises:
            BadOutput: codes that are not finite, or no surface.
            StageError: as the stages raise.
        """
        return self.place(self.encode(subject, call), subject, call)

    def encode(self, subject: Subject, call: Call) -> Tensor:
        """The first half, on the device: scene codes [3,C,R,R] of the framed picture.

        Raises:
            BadOutput: codes that are not finite.
            StageError: as the stage raises.
        """
        assert subject.framed is not None, "it takes a picture"
        encode = partial(self.reconstructor.encode, subject.framed)
        with call.stage(STAGE):
            return call.with_less(STAGE, encode, encode)  # in one piece; with an empty cache then

    def place(self, codes: Tensor, subject: Subject, call: Call) -> Lifted:
        """The second half, mostly on the CPU: Gaussians on the surface of the codes' field.

        Another thread may encode the next picture meanwhile: the model is only read.

        Raises:
            BadOutput: no surface.
            StageError: as the stage raises.
        """
        keys = self._keys(call)
        place = partial(self.reconstructor.to_gaussians, codes, keys, subject.seed)
        chunk = SMALL_CHUNK if "smaller_chunk" in call.steps else None
        with call.stage(SURFACE_STAGE):
            gaussians, surface = call.with_less(
                SURFACE_STAGE, partial(place, chunk), partial(place, SMALL_CHUNK)
            )
        return Lifted(gaussians, surface, codes)

    @property
    def bytes(self) -> int:
        """Of its weights."""
        return weight_bytes(self.reconstructor.model)

    def park(self) -> None:
        """To the host's memory."""
        if self._parking is None:
            self._parking = Parking([self.reconstructor.model], self.reconstructor.device, True)
        self._parking.park()

    def wake(self) -> None:
        """Back to the device."""
        if self._parking is not None:
            self._parking.wake()

    def _keys(self, call: Call) -> SurfaceKeys:
        keys, changed = self.keys, {}
        if call.count is not None:
            changed["count"] = call.count
        if "smaller_resolution" in call.steps and keys.resolution > keys.base_resolution:
            changed["resolution"] = keys.resolution // 2
        return keys.model_copy(update=changed)
