"""Real spherical harmonics of degrees 0 to 3: colour as a function of the viewing direction.

Order and signs are those of 3D Gaussian Splatting: within degree l the orders m = -l..l, with the
Condon-Shortley phase, evaluated at the direction from the camera to the Gaussian.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from miner.geometry.gaussians import SH_C0, SH_REST_COUNTS

_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = [math.sqrt(k / math.pi) for k in (15 / 4, 15 / 4, 5 / 16, 15 / 4, 15 / 16)]
_C3 = [
    math.sqrt(k / math.pi) for k in (35 / 32, 105 / 4, 21 / 32, 7 / 16, 21 / 32, 105 / 16, 35 / 32)
]


def sh_to_rgb(sh_dc: Tensor, sh_rest: Tensor, directions: Tensor) -> Tensor:
    """Colours of Gaussians seen along given directions.

    Args:
        sh_dc: [N,3] constant coefficient of red, green, blue.
        sh_rest: [N,K,3] higher coefficients, K one of 0, 3, 8, 15.
        directions: [N,3] from the camera to the Gaussian, any length.

    Returns:
        [N,3] RGB, never negative (as every renderer of 3DGS cuts it), not limited to 1.
    """
    rgb = 0.5 + SH_C0 * sh_dc
    if sh_rest.shape[1]:
        basis = sh_basis(F.normalize(directions, dim=-1), SH_REST_COUNTS.index(sh_rest.shape[1]))
        rgb = rgb + (basis.unsqueeze(-1) * sh_rest).sum(dim=1)
    return rgb.clamp_min(0.0)


def sh_basis(directions: Tensor, degree: int) -> Tensor:
    """[N,(degree+1)^2-1] values of all harmonics but the constant one at unit directions [N,3]."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    bands = [
        [-_C1 * y, _C1 * z, -_C1 * x],
        [
            _C2[0] * x * y,
            -_C2[1] * y * z,
            _C2[2] * (3 * zz - 1),
            -_C2[3] * x * z,
            _C2[4] * (xx - yy),
        ],
        [
            -_C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            -_C3[2] * y * (5 * zz - 1),
            _C3[3] * z * (5 * zz - 3),
            -_C3[4] * x * (5 * zz - 1),
            _C3[5] * z * (xx - yy),
            -_C3[6] * x * (xx - 3 * yy),
        ],
    ]
    values = [value for band in bands[:degree] for value in band]
    return torch.stack(values, dim=-1) if values else directions[:, :0]
