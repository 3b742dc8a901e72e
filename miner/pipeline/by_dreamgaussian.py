"""The rollback's generator: DreamGaussian fits Gaussians to a picture or prompt, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from miner.dreamgaussian.fit import Fitter
from miner.dreamgaussian.settings import FitSettings, load_fit_settings
from miner.errors import ConfigError
from miner.gpu.device import Device
from miner.gpu.weights import WeightStore
from miner.pipeline.generator import Call, Lifted, Needs, Subject
from miner.settings import Preset

STAGE: Final = "dreamgaussian"

WARM_UP_ITERS: Final = 2
"""One at the smallest size of view and one at a larger."""

KEPT_SECONDS: Final = 0.5
"""Of a job's time, for the check and the encoding that follow."""


class ByDreamGaussian:
    """A loaded fitter as a generator."""

    def __init__(self, fitter: Fitter, device: Device) -> None:
        self._pictured = _needs(fitter.settings) == "picture"
        self._fitter = fitter
        self._device = device

    @classmethod
    def offered(cls, preset: Preset) -> bool:
        """Where the preset names a configuration."""
        return bool(preset.dreamgaussian.config)

    @classmethod
    def needs(cls, preset: Preset) -> Needs:
        """A cut-out picture or a prompt, by the guidance."""
        return _needs(fit_settings(preset))

    @classmethod
    def weights(cls, preset: Preset) -> Sequence[str]:
        """Of the guidance, if it is used."""
        keys = fit_settings(preset).guidance
        if keys.weight == 0.0:
            return []
        return [name for name in (keys.weights, keys.vae_weights) if name]

    @classmethod
    def load(
        cls,
        preset: Preset,
        store: WeightStore,
        device: Device,
        reading: Callable[[str], AbstractContextManager[Any]],
    ) -> ByDreamGaussian:
        """The fitter of the preset's configuration, with its guidance.

        Raises:
            WeightsError: the guidance's weights are missing or damaged.
            ConfigError: there is no such configuration.
        """
        settings = fit_settings(preset)
        wanted = cls.weights(preset)
        with reading(wanted[0]) if wanted else nullcontext():
            return cls(Fitter.load(settings, store, device), device)

    def generate(self, subject: Subject, call: Call) -> Lifted:
        """Gaussians fitted in the time that is left for the job.

        Raises:
            BadOutput: nothing came of the fit.
            DeadlineExceeded: no time is left.
            StageError: as the stage raises.
        """
        left = call.left_seconds() - KEPT_SECONDS
        with call.stage(STAGE):
            gaussians = self._fitter.fit(
                image=subject.cutout if self._pictured else None,
                prompt=None if self._pictured else subject.prompt,
                start=subject.start,
                seed=subject.seed,
                deadline_seconds=left if math.isfinite(left) else None,
                cancel=call.cancel,
                on_progress=lambda done, total: call.report(STAGE, done, total),
            )
        return Lifted(gaussians)

    @property
    def bytes(self) -> int:
        """Of the guidance's weights."""
        return self._fitter.weight_bytes

    def warm_up(self, subject: Subject, call: Call) -> None:
        """A fit of a few iterations: kernels are built and caches filled by it.

        Raises:
            BadOutput: nothing came of so short a fit, which need not be a fault.
            StageError: as the stage raises.
        """
        short = self._fitter.shortened(WARM_UP_ITERS)
        ByDreamGaussian(short, self._device).generate(subject, call)

    def park(self) -> None:
        """To the host's memory."""
        self._fitter.move("cpu")

    def wake(self) -> None:
        """Back to the device."""
        self._fitter.move(self._device.torch_device)


def _needs(settings: FitSettings) -> Needs:
    return "picture" if settings.guidance.kind == "zero123" else "prompt"


def fit_settings(preset: Preset) -> FitSettings:
    """The preset's configuration, in the number type that the preset names.

    Raises:
        ConfigError: it names none, or one that cannot be read.
    """
    if not preset.dreamgaussian.config:
        raise ConfigError(f"preset {preset.name}: dreamgaussian.config: names no configuration")
    found = load_fit_settings(preset.dreamgaussian.config)
    if preset.dreamgaussian.dtype == "auto":
        return found
    guidance = found.guidance.model_copy(update={"dtype": preset.dreamgaussian.dtype})
    return found.model_copy(update={"guidance": guidance})
