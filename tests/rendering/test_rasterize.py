from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from miner.errors import BadOption
from miner.geometry.cameras import Camera
from miner.geometry.gaussians import Gaussians, from_activated
from miner.rendering import fragments, tiles
from miner.rendering.projection import project
from miner.rendering.rasterize import rasterize, rasterize_torch, render
from tests.rendering.dense import rasterize_dense

Scene = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _camera(size: int = 21, width: int = 27) -> Camera:
    square = Camera.orbit(25.0, 20.0, 2.0, 55.0, size)
    return Camera(square.cam_to_world, square.fov_y_deg, width=width, height=size)


def _scene(seed: int, count: int = 200, dtype: torch.dtype = torch.float64) -> Scene:
    """Specks and veils, nearly clear to opaque, some behind the camera or beside it."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(count, 3, generator=generator, dtype=dtype) * 0.6
    means[:4] *= 4.0
    quats = torch.randn(count, 4, generator=generator, dtype=dtype)
    scales = torch.exp(torch.randn(count, 3, generator=generator, dtype=dtype) * 0.8 - 2.0)
    opacities = torch.rand(count, generator=generator, dtype=dtype)
    opacities[::7] = 1.0
    colors = torch.rand(count, 3, generator=generator, dtype=dtype)
    return means, quats, scales, opacities, colors


def _wanting_gradients(scene: Scene) -> Scene:
    means, quats, scales, opacities, colors = (t.clone().requires_grad_() for t in scene)
    return means, quats, scales, opacities, colors


def _gradients(picture: tuple[Tensor, Tensor], scene: Scene) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(99)
    loss = sum(
        (part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum()
        for part in picture
    )
    return torch.autograd.grad(loss, scene)


@pytest.mark.parametrize("seed", range(4))
def test_forward_matches_the_dense_twin(seed: int) -> None:
    """With and without gradients the picture is the twin's: every rule is shared, so that in
    float64 only rounding is left.
    """
    scene, camera = _scene(seed), _camera()
    expected = rasterize_dense(*scene, camera)
    assert expected[1].max() > 0.9995  # the rule about finished pixels is at work too
    for picture in (
        rasterize_torch(*scene, camera),
        rasterize_torch(*_wanting_gradients(scene), camera),
    ):
        torch.testing.assert_close(picture, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_backward_matches_the_dense_twin(seed: int) -> None:
    """The gradients of all five inputs are the twin's, up to rounding in float64."""
    camera = _camera()
    ours, theirs = _wanting_gradients(_scene(seed)), _wanting_gradients(_scene(seed))
    found = _gradients(rasterize(*ours, camera), ours)
    expected = _gradients(rasterize_dense(*theirs, camera), theirs)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-7)


def test_single_precision_stays_close() -> None:
    """float32 differs from float64 by rounding, and by 1/255 at most where rounding moves a
    fragment across a cut-off; that happens on few pixels.
    """
    scene, camera = _scene(5, count=200), _camera(64, 64)
    image, _ = rasterize_torch(*scene, camera)
    single, _ = rasterize_torch(*(tensor.float() for tensor in scene), camera)
    error = (image - single).abs()
    assert error.max().item() < 1.5 / 255
    assert error.mean().item() < 1e-5


def test_bands_do_not_show() -> None:
    """Cut into bands the picture and its gradients are the same as in one piece."""
    camera = _camera()
    whole, parts = _wanting_gradients(_scene(6)), _wanting_gradients(_scene(6))
    one = fragments.blend(project(*whole, camera), camera.width, camera.height)
    many = fragments.blend(project(*parts, camera), camera.width, camera.height, 50)
    torch.testing.assert_close(many, one, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(_gradients(many, parts), _gradients(one, whole))
    tiled = tiles.blend(project(*_scene(6), camera), camera.width, camera.height, 10)
    torch.testing.assert_close(tiled, one, atol=1e-9, rtol=1e-9)


def test_bands_keep_to_their_budget() -> None:
    """Bands are adjacent, cover all rows, and exceed the budget only where one row does."""
    low, high = torch.tensor([0, 2, 5]), torch.tensor([9, 4, 4])  # the last box has no rows
    widths = torch.tensor([3, 10, 100])
    bands = fragments.row_bands(low, high, widths, rows=10, budget=12)
    assert [band[0] for band in bands] == [0, *(band[1] for band in bands[:-1])]
    assert bands[-1][1] == 10
    cells = [3 + 10 * (2 <= row <= 4) for row in range(10)]
    assert all(sum(cells[a:b]) <= 12 or b - a == 1 for a, b in bands)


def test_order_of_the_list_does_not_matter() -> None:
    """Gaussians are blended by depth, however they are listed."""
    scene, camera = _scene(7), _camera()
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    expected = rasterize_torch(*scene, camera)
    found = rasterize_torch(*(tensor[shuffled] for tensor in scene), camera)
    torch.testing.assert_close(found, expected)


def test_gradients_stay_finite_around_the_camera() -> None:
    """Gaussians at the camera's own place or plane get zero gradients, not NaN."""
    camera = Camera.orbit(0.0, 0.0, 2.0, 49.1, 16)
    scene = _wanting_gradients(_scene(8, count=4))
    with torch.no_grad():
        scene[0][:] = torch.tensor([[0, 0, 2.0], [1, 0, 2.0], [0, 0, 3.0], [0, 0, 0]])
    gradients = _gradients(rasterize(*scene, camera), scene)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert all((gradient[:3] == 0).all() for gradient in gradients)


def test_background_shows_where_nothing_covers() -> None:
    """The picture is the blended colour plus the rest of the light times the background."""
    scene, camera = _scene(9), _camera()
    behind = torch.tensor([0.2, 0.4, 0.8], dtype=torch.float64)
    black, alpha = rasterize(*scene, camera)
    image, same_alpha = rasterize(*scene, camera, background=behind)
    torch.testing.assert_close(image, black + (1 - alpha) * behind)
    assert torch.equal(alpha, same_alpha)


def _red(count: int = 1) -> Gaussians:
    quats = np.tile(np.float32([1, 0, 0, 0]), (count, 1))
    colors = np.tile(np.float32([1, 0, 0]), (count, 1))
    zeros = np.zeros((count, 3), np.float32)
    return from_activated(zeros, zeros + 0.2, quats, np.full(count, 0.9), colors)


def test_a_speck_peaks_at_its_opacity() -> None:
    """In the very middle of one Gaussian alpha is its opacity and the colour is its own."""
    image, alpha = render(_red(), Camera.orbit(0, 0, 2, 49.1, 9), background="black")
    assert alpha[4, 4].item() == pytest.approx(0.9, abs=1e-5)
    torch.testing.assert_close(image[4, 4], torch.tensor([0.9, 0.0, 0.0]), atol=1e-5, rtol=0)


def test_nothing_gives_the_background() -> None:
    """No Gaussian at all is a picture of the background with alpha zero, not an error."""
    none = Gaussians(*(getattr(_red(), name)[:0] for name in Gaussians.__dataclass_fields__))
    image, alpha = render(none, Camera.orbit(0, 0, 2, 49.1, 10), background="#336699")
    expected = torch.tensor([0x33, 0x66, 0x99]) / 255.0
    torch.testing.assert_close(image, expected.expand(10, 10, 3))
    assert not alpha.any()


def test_nothing_has_gradients_too() -> None:
    """An empty scene, or one wholly out of sight, can be differentiated."""
    for count in (0, 5):
        scene = _wanting_gradients(_scene(10, count=count))
        with torch.no_grad():
            scene[0][:] = 100.0
        gradients = _gradients(rasterize(*scene, _camera()), scene)
        assert all((gradient == 0).all() for gradient in gradients)


def test_infinite_logits_are_clear_and_opaque() -> None:
    """Logits of minus and plus infinity, as SPZ decodes them, are opacities of 0 and 1."""
    camera = Camera.orbit(0, 0, 2, 49.1, 9)
    for logit, expected in ((-math.inf, 0.0), (math.inf, 0.999)):
        splat = _red()
        splat.opacity_logits[:] = logit
        assert render(splat, camera)[1][4, 4].item() == pytest.approx(expected)


def test_harmonics_are_seen_from_the_camera() -> None:
    """A coefficient on z makes the front lighter than the back."""
    rest = np.zeros((1, 3, 3), np.float32)
    rest[0, 1] = -0.5
    grey = from_activated(
        np.zeros((1, 3)), np.full((1, 3), 0.2), np.eye(1, 4), np.ones(1), np.full((1, 3), 0.5)
    )
    splat = Gaussians(**{**vars(grey), "sh_rest": rest})
    front, back = (
        render(splat, Camera.orbit(azimuth, 0, 2, 49.1, 9), "black")[0][4, 4, 0].item()
        for azimuth in (0.0, 180.0)
    )
    slope = 0.5 * math.sqrt(3 / (4 * math.pi))
    assert (front, back) == pytest.approx((0.999 * (0.5 + slope), 0.999 * (0.5 - slope)), abs=1e-5)


def test_unknown_background_is_refused() -> None:
    """A background that is neither a name nor #rrggbb is the caller's mistake."""
    for name in ("", "whiteish", "#12345", "#12345g", "rgb(1,2,3)"):
        with pytest.raises(BadOption, match="background"):
            render(_red(), Camera.orbit(0, 0, 2, 49.1, 4), background=name)
