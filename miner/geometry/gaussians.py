"""The value that travels from the generators to the codecs: a set of 3D Gaussians, as numpy arrays.

No torch here, so that a process which only moves splats about need not load it. Rules about what a
valid splat is live in ``pipeline/quality.py``; this class only holds shapes and dtypes true.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SH_C0 = 0.28209479177387814
"""The constant band of the real spherical harmonics: rgb = 0.5 + SH_C0 * sh_dc."""

SH_REST_COUNTS = (0, 3, 8, 15)
"""Coefficients per channel beyond the constant one, for degrees 0 to 3."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians as 3DGS stores them, before any activation. Right-handed frame, +Y up, front +Z.

    Attributes:
        means: [N,3] float32, centres in scene units.
        log_scales: [N,3] float32, natural logarithm of the standard deviation along each own axis.
        quats: [N,4] float32, rotation from own axes to the scene, ``wxyz``; need not be normalised.
        opacity_logits: [N] float32, logit of the opacity; infinities stand for 0 and 1.
        sh_dc: [N,3] float32, constant harmonic of red, green, blue (see ``SH_C0``).
        sh_rest: [N,K,3] float32, higher harmonics as 3DGS orders them, K in ``SH_REST_COUNTS``.

    Raises:
        ValueError: shapes or dtypes disagree (a mistake of the program, not of a user).
    """

    means: FloatArray
    log_scales: FloatArray
    quats: FloatArray
    opacity_logits: FloatArray
    sh_dc: FloatArray
    sh_rest: FloatArray

    def __post_init__(self) -> None:
        n, k = len(self.means), self.sh_rest.shape[1] if self.sh_rest.ndim == 3 else -1
        wanted = {
            "means": (n, 3),
            "log_scales": (n, 3),
            "quats": (n, 4),
            "opacity_logits": (n,),
            "sh_dc": (n, 3),
            "sh_rest": (n, k, 3),
        }
        for field in fields(self):
            array = getattr(self, field.name)
            if array.shape != wanted[field.name] or array.dtype != np.float32:
                raise ValueError(
                    f"{field.name}: {array.dtype}{list(array.shape)}, "
                    f"not float32{list(wanted[field.name])}"
                )
        if k not in SH_REST_COUNTS:
            raise ValueError(f"sh_rest holds {k} coefficients, not one of {SH_REST_COUNTS}")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the harmonics, 0 to 3."""
        return SH_REST_COUNTS.index(self.sh_rest.shape[1])

    @property
    def colors(self) -> FloatArray:
        """[N,3] float32 RGB of the constant harmonic, nominally in [0,1] and not clipped."""
        return (np.float32(0.5) + np.float32(SH_C0) * self.sh_dc).astype(np.float32)


def from_activated(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    colors: FloatArray,
) -> Gaussians:
    """Gaussians of degree 0 from activated values.

    Args:
        means: [N,3] centres.
        scales: [N,3] standard deviations, > 0.
        quats: [N,4] ``wxyz``.
        opacities: [N] in (0,1).
        colors: [N,3] RGB in [0,1].
    """
    p = np.clip(opacities.astype(np.float64), 1e-7, 1 - 1e-7)
    return Gaussians(
        means=np.ascontiguousarray(means, np.float32),
        log_scales=np.log(scales).astype(np.float32),
        quats=np.ascontiguousarray(quats, np.float32),
        opacity_logits=np.log(p / (1 - p)).astype(np.float32),
        sh_dc=((colors - 0.5) / SH_C0).astype(np.float32),
        sh_rest=np.zeros((len(means), 0, 3), np.float32),
    )
