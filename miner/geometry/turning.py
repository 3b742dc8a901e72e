"""Turning a splat as a whole, from our frame into another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from miner.geometry.gaussians import FloatArray, Gaussians

SH_SIGNS: Final = (
    -1, -1, 1,
    -1, 1, 1, -1, 1,
    -1, 1, -1, -1, 1, -1, 1,
)  # fmt: skip
"""What y -> -y, z -> -z does to the harmonics of degree 1, 2 and 3 in the order of 3DGS. Each is a
polynomial of x, y and z whose terms hold y and z together either an even number of times, and stay,
or an odd number, and change their sign: y, z, x; xy, yz, 2zz-xx-yy, xz, xx-yy; y(3xx-yy), xyz,
y(4zz-xx-yy), z(2zz-3xx-3yy), x(4zz-xx-yy), z(xx-yy), x(xx-3yy)."""


def half_turn_about_x(gaussians: Gaussians) -> Gaussians:
    """The splat turned by 180 degrees about the X axis: +Y goes to -Y, and +Z to -Z.

    From a frame with +Y up and the front along +Z into one with +Y down and the front along -Z, and
    back. Exact but for the signs of zeros: no number changes more than its sign or its place.

    Args:
        gaussians: of any degree; harmonics turn along.
    """
    flip = np.array([1, -1, -1], np.float32)
    k = gaussians.sh_rest.shape[1]
    signs = np.array(SH_SIGNS[:k], np.float32)[:, None]
    return replace(
        gaussians,
        means=gaussians.means * flip,
        quats=_turned(gaussians.quats),
        sh_rest=gaussians.sh_rest * signs,
    )


def _turned(quats: FloatArray) -> FloatArray:
    """[N,4] ``wxyz``: the quaternion of the half turn, (0, 1, 0, 0), times each."""
    w, x, y, z = quats.T
    return np.stack([-x, w, -z, y], axis=1)
