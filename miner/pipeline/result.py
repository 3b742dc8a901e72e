"""The values that the pipeline is given and gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miner.geometry.gaussians import Gaussians
from miner.pipeline.fidelity import Fidelity
from miner.pipeline.quality import QualityReport
from miner.pipeline.selfcheck import Verdict
from miner.pipeline.stage import Timings
from miner.triposr.surface import SurfaceReport


@dataclass(frozen=True, eq=False)
class Painting:
    """What the first stage makes of one prompt.

    Attributes:
        prompt: as it was checked and cleaned, without the template.
        seconds: its share of the time of the batch it was painted in.
    """

    prompt: str
    seed: int
    picture: Image.Image
    seconds: float


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A finished job, with what came of each stage.

    Attributes:
        prompt: None where a picture was given instead.
        gaussians: in the scene frame, past the validity gate.
        picture: what the second stage was given, RGB or RGBA; None where the generator took the
            prompt alone, and so the next two.
        cutout: the picture with the object's coverage as alpha, RGBA.
        framed: [S,S,3] float32 in [0,1], what TripoSR is given.
        surface: what TripoSR's extraction took; None for other generators.
        quality: what the gate measured.
        fidelity: the splat against its field, where that was asked for.
        timings: seconds by stage, in order.
        check: what the self-check found; None where it is off, or did not work.
        candidates: how many were made, this one included.
        generator: what made the Gaussians.
        cause, steps: as in ``Asset``.
    """

    prompt: str | None
    seed: int
    gaussians: Gaussians
    picture: Image.Image | None
    cutout: Image.Image | None
    framed: NDArray[np.float32] | None
    surface: SurfaceReport | None
    quality: QualityReport
    fidelity: Fidelity | None
    timings: Timings
    check: Verdict | None = None
    candidates: int = 1
    generator: str = ""
    cause: str = ""
    steps: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Of the self-check; a check that did not work doubts nothing."""
        return 1.0 if self.check is None else self.check.score
