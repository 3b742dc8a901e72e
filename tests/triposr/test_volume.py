"""Volume rendering against fields whose pictures are known in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.triposr.volume import RAYS_PER_CHUNK, intersect_box, render_rays, scene_to_native


class Fog:
    """The same density everywhere; colour tells the sign of each coordinate."""

    radius = 1.0
    device = torch.device("cpu")

    def __init__(self, density: float) -> None:
        self.value = density

    def density(self, xyz: Tensor) -> Tensor:
        return torch.full((len(xyz), 1), self.value)

    def query(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(xyz), (xyz > 0).float()


def test_fog_absorbs_exponentially() -> None:
    """A ray through constant density keeps exp(-density) of the white behind it, to rounding."""
    origins, directions = torch.tensor([[3.0, -0.5, -0.5]]), torch.tensor([[-1.0, 0.0, 0.0]])

    color = render_rays(Fog(0.7), origins, directions, samples=128)

    kept = math.exp(-0.7)
    front_half = 1 - math.exp(-0.35)  # where x > 0 the fog is red, behind it black
    assert torch.allclose(color, torch.tensor([[kept + front_half, kept, kept]]), atol=1e-5)


def test_rays_that_miss_see_white() -> None:
    """Beside the box, and behind the camera, there is nothing but the background."""
    origins = torch.tensor([[3.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    directions = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])

    assert torch.equal(render_rays(Fog(50.0), origins, directions, 8), torch.ones(2, 3))


def test_box_distances() -> None:
    """Near and far are where the ray crosses the faces, near never behind the origin."""
    origins = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, 0.0]])
    directions = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [-1.0, -1.0, 0.0]])

    near, far = intersect_box(origins, directions, 1.0)

    assert torch.allclose(near, torch.tensor([2.0, 0.0, 2.0]))
    assert torch.allclose(far, torch.tensor([4.0, 1.0, 4.0]))


def test_many_rays_are_rendered_in_chunks() -> None:
    """A picture of more rays than one chunk is the chunks put together; no rays give no colours."""
    count = RAYS_PER_CHUNK + 3
    origins = torch.tensor([3.0, 0.2, 0.2]).expand(count, 3)
    directions = torch.tensor([-1.0, 0.0, 0.0]).expand(count, 3)

    colors = render_rays(Fog(1.0), origins, directions, samples=4)

    assert torch.equal(colors, colors[:1].expand(count, 3))
    assert render_rays(Fog(1.0), origins[:0], directions[:0], 4).shape == (0, 3)


def test_the_front_camera_stands_on_native_x() -> None:
    """Azimuth 0 of the scene looks from native +x, azimuth 90 from +y, and up is +z."""
    for azimuth, elevation, axis in ((0.0, 0.0, 0), (90.0, 0.0, 1), (0.0, 90.0, 2)):
        position = scene_to_native(Camera.orbit(azimuth, elevation, 2.0, 40.0, 8).position)

        wanted = 2.0 * torch.eye(3, dtype=torch.float64)[axis]
        assert torch.allclose(position, wanted, atol=1e-12)
