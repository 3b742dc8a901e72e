"""What one job carries from stage to stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miner.geometry.gaussians import Gaussians
from miner.pipeline.generator import ProgressCallback
from miner.pipeline.stage import CancelFlag, Timings


@dataclass(eq=False)
class Work:
    """What one call carries from stage to stage, and from one generator to the next.

    Attributes:
        picture, cutout, framed: None until they are made.
        start: what a generator may begin with.
    """

    prompt: str | None
    seed: int
    picture: Image.Image | None
    timings: Timings
    cancel: CancelFlag
    on_progress: ProgressCallback | None
    count: int | None = None
    measure: bool = False
    left_seconds: Callable[[], float] = field(default=lambda: math.inf)
    cutout: Image.Image | None = None
    framed: NDArray[np.float32] | None = None
    start: Gaussians | None = None
