from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from miner.dreamgaussian import starts
from miner.dreamgaussian.finish import fill_up, finish
from miner.dreamgaussian.params import Cloud, begin
from miner.dreamgaussian.reference import framed, over
from miner.dreamgaussian.settings import OutputSettings, StartSettings, ViewSettings
from miner.errors import BadOutput
from miner.geometry.cameras import Camera
from miner.pipeline import quality
from miner.rendering.metrics import silhouette_iou
from miner.rendering.rasterize import rasterize
from tests.dreamgaussian.rig import ball_picture, cloud

VIEWS = ViewSettings()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_ball_is_evenly_filled() -> None:
    """Within half the radius lies an eighth of the Gaussians; each is about as large as its
    neighbours are far.
    """
    ball = starts.random_ball(StartSettings(num_pts=4_000), generator())
    distance = ball.means.norm(dim=1)
    assert distance.max() <= 0.5
    assert (distance < 0.25).float().mean().item() == pytest.approx(1 / 8, abs=0.02)
    assert ball.opacities[0].item() == pytest.approx(0.1)
    assert 0.02 < ball.scales.median().item() < 0.06


def test_an_outline_becomes_a_body() -> None:
    """A round picture's body is as deep as it is wide, has its colours, and fills its outline."""
    picture = framed(ball_picture(), 64, 0.8)
    body = starts.silhouette(picture, VIEWS, StartSettings(num_pts=2_000), generator())
    x, y, z = (body.means.amax(0) - body.means.amin(0)).tolist()
    assert x == pytest.approx(y, rel=0.15)
    assert z == pytest.approx(x, rel=0.1)
    torch.testing.assert_close(
        body.colors, torch.tensor([200, 30, 30]).div(255.0).expand(2_000, 3), atol=0.02, rtol=0
    )


def test_a_picture_without_an_outline_starts_from_a_ball() -> None:
    """Where nothing is more than half covered there is no body, and the ball serves."""
    body = starts.silhouette(torch.full((16, 16, 4), 0.4), VIEWS, StartSettings(), generator())
    assert len(body) == StartSettings().num_pts


def test_a_splat_is_thinned_and_fitted_to_the_picture() -> None:
    """No more than the limit is taken, thinned ones grow, and the size becomes the picture's."""
    ball = starts.random_ball(StartSettings(num_pts=3_000, opacity=0.9, radius=0.3), generator())
    moved = Cloud(ball.means + torch.tensor([0.3, -0.2, 0.0]), *ball.tensors()[1:])
    picture = framed(ball_picture(), 128, 0.8)
    thin = starts.from_splat(moved, 1_000, picture, VIEWS, generator())
    assert len(thin) == 1_000
    grown = (thin.means - thin.means.mean(0)).norm(dim=1).max() / 0.3
    assert (thin.scales.median() / ball.scales.median()).item() > 1.5 * grown.item()
    camera = Camera.orbit(0.0, 0.0, VIEWS.radius, VIEWS.fovy, 128)
    _, alpha = rasterize(thin.means, thin.quats, thin.scales, thin.opacities, thin.colors, camera)
    assert silhouette_iou(alpha[..., 0], picture[..., 3]) > 0.9


def test_framing_keeps_the_object() -> None:
    """The object's longer side takes the wanted share, in the middle, with its own colour up to
    the edge.
    """
    tall = np.zeros((100, 60, 4), np.uint8)
    tall[20:80, 25:35] = (10, 200, 30, 255)
    picture = framed(Image.fromarray(tall, "RGBA"), 64, 0.75)
    covered = picture[..., 3] > 0.5
    rows, columns = torch.nonzero(covered.any(1))[:, 0], torch.nonzero(covered.any(0))[:, 0]
    assert (len(rows), len(columns)) == (48, 8)
    assert (rows[0].item(), columns[0].item()) == (8, 28)
    shown = picture[picture[..., 3] > 0.01]
    torch.testing.assert_close(
        shown[:, :3], torch.tensor([10, 200, 30]).div(255.0).expand(len(shown), 3)
    )
    white = over(picture, torch.ones(3))
    assert (white[0] == 1.0).all()


def test_filling_up_reaches_the_minimum() -> None:
    """However few there are, halving the longest gives exactly the minimum."""
    assert len(fill_up(begin(cloud(40)), 1_000)) == 1_000
    assert len(fill_up(begin(cloud(40)), 40)) == 40


def test_strays_do_not_decide_the_size() -> None:
    """A Gaussian far from all others, a huge one and one that is no number are dropped; the splat
    has the size of the rest and passes the gate.
    """
    ball = starts.random_ball(StartSettings(num_pts=500, opacity=0.8), generator())
    ball.means[0] = torch.tensor([9.0, 0.0, 0.0])
    ball.log_scales[1] = 2.0
    ball.sh_dc[2, 0] = float("nan")
    ball.sh_dc[3] = 50.0
    splat = finish(ball, OutputSettings())
    quality.check(splat)
    sides = np.ptp(splat.means, axis=0)
    assert sides.min() > 1.2


def test_nothing_left_is_an_error() -> None:
    """A cloud of faint Gaussians, or one on a single point, makes no splat."""
    faint = starts.random_ball(StartSettings(num_pts=500, opacity=0.001), generator())
    with pytest.raises(BadOutput, match="left"):
        finish(faint, OutputSettings())
    ball = starts.random_ball(StartSettings(num_pts=500, opacity=0.8), generator())
    with pytest.raises(BadOutput):
        finish(Cloud(torch.zeros_like(ball.means), *ball.tensors()[1:]), OutputSettings())
