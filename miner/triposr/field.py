"""A radiance field as surface and volume rendering see it, and the one that a triplane holds.

``Field`` is all they know of it: ``TriplaneField`` implements it, and so do the analytic objects of
the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from miner.triposr.config import RendererConfig
from miner.triposr.decoder import PointDecoder, activate_color, activate_density
from miner.triposr.triplane import sum_of_planes, to_plane_coordinates

CHUNK_CPU = 8192
"""Points at a time on a CPU, where the activations of a chunk should stay in the cache."""

CHUNK_CUDA = 262_144
"""Points at a time on CUDA, where smaller chunks are bound by the launching of kernels."""


class Field(Protocol):
    """A density and a colour at every point of the cube [-radius, radius]^3.

    Native frame of TripoSR: right-handed, x to the front camera, y to the right, z up. Calls take
    any number of points: whoever implements the protocol splits them into chunks that suit the
    device.
    """

    @property
    def radius(self) -> float:
        """Half the side of the cube; points outside it have no meaning."""
        ...

    @property
    def device(self) -> torch.device:
        """Where points are expected and answers are given."""
        ...

    def density(self, xyz: Tensor) -> Tensor:
        """[N,1] activated density >= 0 at ``xyz`` [N,3] float32."""
        ...

    def query(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """Activated density [N,1] and colour [N,3] in [0,1] at ``xyz`` [N,3] float32."""
        ...


class TriplaneField:
    """The field of one scene, for many points: exactly the numbers of ``TripoSR.query``, sooner.

    The decoder's first layer is linear in the features of the three planes, and bilinear sampling
    is linear in the texels, so the layer can be applied to the texels once instead of to every
    point: planes of n_neurons channels, whose samples are summed where features were concatenated.
    """

    def __init__(
        self,
        codes: Tensor,
        decoder: PointDecoder,
        renderer: RendererConfig,
        chunk: int | None = None,
    ) -> None:
        """Fold the first layer into the planes.

        Args:
            codes: [3,C,R,R].
            decoder: of the model that made the codes; used, not copied.
            renderer: for the radius and the density's bias.
            chunk: points at a time; what suits the device when not given.
        """
        first = decoder.first
        weight = first.weight.float().reshape(first.out_features, 3, -1)
        self._planes = torch.einsum("npc,pchw->phwn", weight, codes.float()).contiguous()
        self._decoder = decoder
        self._renderer = renderer
        self._chunk = chunk or (CHUNK_CUDA if codes.is_cuda else CHUNK_CPU)

    @property
    def radius(self) -> float:
        """Half the side of the cube that holds the field, in native units."""
        return self._renderer.radius

    @property
    def device(self) -> torch.device:
        """Where points are expected and answers are given."""
        return self._planes.device

    def density(self, xyz: Tensor) -> Tensor:
        """[N,1] activated density >= 0 at ``xyz`` [N,3] float32, native."""
        bias = self._renderer.density_bias
        parts = [activate_density(density, bias) for density, _ in self._raw(xyz)]
        return torch.cat(parts) if parts else xyz.new_zeros(0, 1)

    def query(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """Activated density [N,1] and colour [N,3] in [0,1] at ``xyz`` [N,3] float32, native."""
        bias = self._renderer.density_bias
        parts = [(activate_density(d, bias), activate_color(c)) for d, c in self._raw(xyz)]
        if not parts:
            return xyz.new_zeros(0, 1), xyz.new_zeros(0, 3)
        density, color = zip(*parts, strict=True)
        return torch.cat(density), torch.cat(color)

    def _raw(self, xyz: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Raw density and colour, chunk by chunk."""
        bias = self._decoder.first.bias
        for part in torch.split(to_plane_coordinates(xyz, self.radius), self._chunk):
            hidden = sum_of_planes(self._planes, part)
            yield self._decoder.after_first(hidden.to(bias.dtype) + bias)
