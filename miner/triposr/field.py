"""What the surface code needs to know of a radiance field: nothing but these few members.

``Triplane`` fields implement it, and so do the analytic objects of the tests.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


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
