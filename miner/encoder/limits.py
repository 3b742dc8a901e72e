"""What every codec demands of a splat on its way in and out: its size, and real numbers.

Whether a splat is any good is asked elsewhere (``pipeline/quality.py``); here only what no file
may hold.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from miner.errors import BadAsset
from miner.geometry.gaussians import Gaussians

MAX_GAUSSIANS: Final = 10_000_000
"""The most that the reference SPZ decoders accept, the subnet's among them."""

MAX_FILE_BYTES: Final = 1 << 30
"""The largest file that is read: a PLY of ``MAX_GAUSSIANS`` with normals and no harmonics fits."""


def require_count(count: int, limit: int = MAX_GAUSSIANS) -> None:
    """Refuse an empty splat and one of more than ``limit`` Gaussians.

    Raises:
        BadAsset: with both numbers.
    """
    if count < 1:
        raise BadAsset("the splat holds no Gaussians")
    if count > limit:
        raise BadAsset(f"the splat claims {count:,} Gaussians; the limit is {limit:,}")


def require_finite(gaussians: Gaussians) -> None:
    """Refuse NaN anywhere, and infinities anywhere but in the opacity logits (opacity 0 and 1).

    Raises:
        BadAsset: naming the attribute.
    """
    for name in ("means", "log_scales", "quats", "sh_dc", "sh_rest"):
        array = getattr(gaussians, name)
        # Minimum and maximum carry NaN along and, unlike isfinite, need no array of their own.
        if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
            raise BadAsset(f"the splat has numbers that are not finite among its {name}")
    if len(gaussians) and np.isnan(gaussians.opacity_logits.min()):
        raise BadAsset("the splat has NaN among its opacity_logits")
