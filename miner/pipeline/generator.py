"""What a generator is: it makes Gaussians of a cut-out picture, or of a prompt.

Found by name: ours are known here, others through the entry-point group ``miner.generators``, so
that an operator can add one without touching this code. An entry point names a class that
implements ``Generator`` and has ``GeneratorKind``'s methods as class methods.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from miner.errors import ConfigError
from miner.geometry.gaussians import Gaussians
from miner.gpu.device import Device
from miner.gpu.weights import WeightStore
from miner.pipeline.cancel import CancelFlag
from miner.pipeline.shortage import Shortages, with_less
from miner.pipeline.stage import Timings, stage
from miner.settings import Preset
from miner.triposr.surface import SurfaceReport

GROUP = "miner.generators"
TRIPOSR, DREAMGAUSSIAN = "triposr", "dreamgaussian"
OURS = {
    TRIPOSR: "miner.pipeline.by_triposr:ByTripoSR",
    DREAMGAUSSIAN: "miner.pipeline.by_dreamgaussian:ByDreamGaussian",
}

Result = TypeVar("Result")

Needs = Literal["picture", "prompt"]
"""What a generator makes its Gaussians of."""

ProgressCallback = Callable[[str, int, int], None]
"""Called with the name of a stage, its steps done and its steps in all, as a stage goes on."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is to be made.

    Attributes:
        prompt: the caller's words, where there are any.
        cutout: RGBA picture with the object's coverage as alpha; None where no picture was made.
        framed: [S,S,3] float32 in [0,1], the object framed on grey; None likewise.
        start: Gaussians of another generator to begin with, in the scene frame.
    """

    prompt: str | None
    seed: int
    cutout: Image.Image | None = None
    framed: NDArray[np.float32] | None = None
    start: Gaussians | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """How it is to be made, and whom to tell.

    Attributes:
        timings: seconds by stage, added to by ``stage``.
        count: Gaussians to place; the preset's choice when not given.
        steps: smaller steps in force; a generator ignores those it does not know.
        left_seconds: of the time for the job; infinite without a limit.
        shortages: told where memory ran out.
    """

    device: Device
    timings: Timings
    cancel: CancelFlag
    on_progress: ProgressCallback | None = None
    count: int | None = None
    steps: Sequence[str] = ()
    left_seconds: Callable[[], float] = field(default=lambda: math.inf)
    shortages: Shortages = field(default_factory=Shortages)

    def report(self, name: str, done: int, total: int) -> None:
        """Tells of the steps of one stage."""
        if self.on_progress is not None:
            self.on_progress(name, done, total)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Runs a block as a stage: timed, told of, stopped where cancelled, its errors ours."""
        self.report(name, 0, 1)
        with stage(name, self.device, self.timings, self.cancel):
            yield
        self.report(name, 1, 1)

    def with_less(
        self, name: str, usual: Callable[[], Result], smaller: Callable[[], Result]
    ) -> Result:
        """What ``usual`` gives or, where memory runs out, what ``smaller`` gives; in a stage."""
        return with_less(name, self.device, self.shortages, usual, smaller)


@dataclass(frozen=True, eq=False)
class Lifted:
    """What a generator made.

    Attributes:
        gaussians: in the scene frame.
        surface: what TripoSR's extraction took.
        codes: TripoSR's, for a comparison of the splat with its field.
    """

    gaussians: Gaussians
    surface: SurfaceReport | None = None
    codes: Tensor | None = None


class Generator(Protocol):
    """A loaded generator; serves one caller at a time."""

    def generate(self, subject: Subject, call: Call) -> Lifted:
        """Gaussians of the subject, in stages of ``call``.

        Raises:
            StageError: it could not; JobCancelled: the flag was set.
        """

    def park(self) -> None:
        """Moves what it holds from the device to the host's memory."""

    def wake(self) -> None:
        """Moves it back."""


class GeneratorKind(Protocol):
    """How a generator comes to be."""

    def offered(self, preset: Preset) -> bool:
        """Whether the preset says how to run it."""

    def needs(self, preset: Preset) -> Needs:
        """What it makes its Gaussians of, as the preset runs it."""

    def weights(self, preset: Preset) -> Sequence[str]:
        """References of the weights it will want, to be checked before anything loads."""

    def load(
        self,
        preset: Preset,
        store: WeightStore,
        device: Device,
        reading: Callable[[str], AbstractContextManager[Any]],
    ) -> Generator:
        """Loads it; each reference is read inside ``reading``, which gives its path.

        Raises:
            WeightsError, DeviceError, OutOfMemory: as ``Pipeline.load``.
        """


def find_generator(name: str) -> GeneratorKind:
    """The kind of that name: one of ours, or else one that is installed.

    Raises:
        ConfigError: there is none, or it cannot be imported.
    """
    others = {point.name: point.value for point in entry_points(group=GROUP)}
    address = {**others, **OURS}.get(name)
    if address is None:
        known = ", ".join(sorted({*others, *OURS}))
        raise ConfigError(f"rollback: no generator {name!r}; there are {known}")
    module, _, attribute = address.partition(":")
    try:
        kind: GeneratorKind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"generator {name!r} cannot be imported: {error}") from error
    return kind
