from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from miner.dreamgaussian.fit import Fitter
from miner.dreamgaussian.params import to_gaussians
from miner.dreamgaussian.poses import Pose
from miner.dreamgaussian.settings import FitSettings
from miner.errors import BadOption, BadOutput, DeadlineExceeded, JobCancelled
from miner.geometry.cameras import Camera
from miner.geometry.gaussians import Gaussians
from miner.pipeline import quality
from miner.pipeline.cancel import CancelFlag
from miner.rendering.metrics import silhouette_iou
from miner.rendering.rasterize import render
from tests.dreamgaussian.rig import (
    CPU,
    Reader,
    SteppingClock,
    Wanted,
    ball_picture,
    cloud,
    settings,
)

PICTURE = ball_picture()


def equal(one: Gaussians, other: Gaussians) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("means", "log_scales", "quats", "opacity_logits", "sh_dc")
    )


def without_guidance(**changes: object) -> FitSettings:
    """The known view alone."""
    return settings(guidance={"weights": "mini/zero123", "weight": 0.0}, **changes)


def test_a_fit_passes_the_gate() -> None:
    """Whatever the start, the splat is valid: enough Gaussians, centred, of the right size."""
    for kind in ("ball", "silhouette"):
        keys = settings(start={"num_pts": 300, "opacity": 0.5, "kind": kind})
        report = quality.check(Fitter(keys, Wanted(), CPU).fit(image=PICTURE))
        assert report.gaussians == 8_000
    given = to_gaussians(cloud(400, dtype=torch.float32))
    quality.check(Fitter(settings(), Wanted(), CPU).fit(image=PICTURE, start=given))


def test_the_seed_decides() -> None:
    """Equal seeds give the same bits, densification included; another seed gives others."""
    fitter = Fitter(
        settings(
            density={
                "densify_grad_threshold": 1e-4,
                "density_start_iter": 0,
                "densification_interval": 2,
            }
        ),
        Wanted(),
        CPU,
    )
    one, same, other = (fitter.fit(image=PICTURE, seed=seed) for seed in (5, 5, 6))
    assert equal(one, same)
    assert not equal(one, other)
    assert fitter.last is not None and fitter.last.fitted > 300


def test_the_known_view_is_learnt() -> None:
    """From the picture's own side the splat shows the picture: outline and colour."""
    keys = without_guidance(
        iters=40,
        start={"num_pts": 600, "opacity": 0.5, "kind": "silhouette"},
        losses={"warmup_rgb_loss": False, "within_outline": True},
    )
    splat = Fitter(keys, None, CPU).fit(image=PICTURE)
    image, alpha = render(splat, Camera.orbit(0, 0, 2.5, 49.1, 64), background="black")
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, 64),) * 2, indexing="ij")
    covered = float((alpha > 0.5).float().mean())
    radius = (4 * covered / torch.pi) ** 0.5
    assert silhouette_iou(alpha[..., 0], (x.hypot(y) < radius).float()) > 0.9
    middle = image[28:36, 28:36].mean(dim=(0, 1))
    torch.testing.assert_close(middle, torch.tensor([200, 30, 30]) / 255.0, atol=0.12, rtol=0)


def test_the_guidance_is_followed() -> None:
    """What the guidance wants comes about: under one that wants blue the splat turns blue."""
    keys = settings(
        iters=25,
        rates={"feature_lr": 0.2},
        views={
            "sizes_px": [16],
            "size_from": [0.0],
            "invert_bg_prob": 0.0,
            "reference_size_px": 24,
        },
    )
    guidance = Reader()
    splat = Fitter(keys, guidance, CPU).fit(prompt="a blue ball")
    seen = splat.colors[1 / (1 + np.exp(-splat.opacity_logits)) > 0.3].mean(axis=0)
    assert seen[2] > seen[0] + 0.2
    assert guidance.subjects[0].prompt == "a blue ball"
    assert len(guidance.progress) == 25


def test_a_start_is_kept_in_shape() -> None:
    """With no time to change anything, a given splat comes back as the same shape, though it was
    given in another size.
    """
    given = to_gaussians(cloud(400, seed=1, dtype=torch.float32))
    keys = without_guidance(iters=1, rates={"position_lr_init": 1e-6, "position_lr_final": 1e-6})
    splat = Fitter(keys, None, CPU).fit(image=PICTURE, start=given)
    sides = np.ptp(given.means, axis=0)
    np.testing.assert_allclose(np.ptp(splat.means, axis=0) / 1.5, sides / sides.max(), atol=0.35)


def test_progress_and_schedule() -> None:
    """Progress is told after every iteration, ends with all done, and the views grow with it."""
    told: list[tuple[int, int]] = []
    guidance = Wanted()
    Fitter(settings(), guidance, CPU).fit(
        image=PICTURE, on_progress=lambda done, total: told.append((done, total))
    )
    assert told == [(done, 6) for done in range(1, 7)]
    assert guidance.sizes == [16, 16, 16, 24, 24, 24]
    assert guidance.progress == pytest.approx([i / 6 for i in range(6)])


def test_cancelled_between_iterations() -> None:
    """A flag set while the fit runs ends it before the next iteration."""
    cancel, guidance = CancelFlag(), Wanted()

    def stop(done: int, total: int) -> None:
        if done == 2:
            cancel.set()

    with pytest.raises(JobCancelled):
        Fitter(settings(), guidance, CPU).fit(image=PICTURE, cancel=cancel, on_progress=stop)
    assert len(guidance.progress) == 2


def test_a_deadline_makes_iterations_fewer() -> None:
    """By measured time the fit goes through its whole schedule in fewer iterations."""
    guidance = Wanted()
    fitter = Fitter(settings(iters=200), guidance, CPU, SteppingClock(0.1))
    fitter.fit(image=PICTURE, deadline_seconds=6.0)
    assert fitter.last is not None
    assert 2 <= fitter.last.iterations < 60
    assert guidance.progress[-1] > 0.8
    fitter.fit(image=PICTURE, deadline_seconds=0.01)
    assert fitter.last.iterations == 2  # never fewer than the least


def test_a_shortened_fit_changes_nothing_but_its_length() -> None:
    """It has the same guidance and so many iterations whatever the settings' least, and the fits of
    the fitter itself stay as they are."""
    fitter = Fitter(settings(iters=8, min_iters=5), Wanted(), CPU)
    before = fitter.fit(image=PICTURE, seed=3)
    short = fitter.shortened(2)
    short.fit(image=PICTURE, seed=4)

    assert short.last is not None
    assert short.last.iterations == 2
    assert equal(fitter.fit(image=PICTURE, seed=3), before)
    assert fitter.last is not None
    assert fitter.last.iterations == 8


def test_the_networks_can_be_parked() -> None:
    """Between fits the guidance's networks go where they are told; without a guidance nothing."""
    guidance = Wanted()
    fitter = Fitter(settings(), guidance, CPU)
    fitter.move("meta")
    assert guidance.network.weight.is_meta
    Fitter(without_guidance(), None, CPU).move("meta")


def test_what_is_missing_is_named() -> None:
    """No picture, no prompt, an empty picture, no time: each is refused with its own error."""
    fitter = Fitter(settings(), Wanted(), CPU)
    with pytest.raises(BadOption, match="needs a picture"):
        fitter.fit(prompt="a ball")
    with pytest.raises(BadOption, match="needs a prompt"):
        Fitter(settings(), Reader(), CPU).fit(image=PICTURE)
    with pytest.raises(BadOutput, match="no object"):
        fitter.fit(image=Image.new("RGBA", (16, 16)))
    with pytest.raises(DeadlineExceeded):
        fitter.fit(image=PICTURE, deadline_seconds=0.0)


def test_a_fit_that_loses_everything_says_so() -> None:
    """Where every Gaussian is pruned there is an error, not an empty splat."""
    keys = settings(start={"num_pts": 300, "opacity": 0.001})
    with pytest.raises(BadOutput, match=r"pruned|are left"):
        Fitter(keys, Wanted((1.0, 1.0, 1.0)), CPU).fit(image=PICTURE)


class Overflowing(Wanted):
    """Its gradients are not finite for the first views, while its loss is a number."""

    def __init__(self, views: int) -> None:
        super().__init__()
        self._left = views

    def loss(
        self, views: Tensor, poses: Sequence[Pose], progress: float, generator: torch.Generator
    ) -> Tensor:
        judged = super().loss(views, poses, progress, generator)
        self._left -= 1
        if self._left < 0:
            return judged
        return judged + torch.sqrt((views - views.detach()).sum())  # 0, with an infinite slope


@pytest.mark.parametrize(("lost", "fails"), [(2, False), (100, True)])
def test_a_fit_that_stood_still_says_so(lost: int, fails: bool) -> None:
    """Gradients that are not finite move nothing: in more than half of the iterations they are an
    error, in a few of them they are not."""
    fitter = Fitter(settings(iters=8), Overflowing(lost), CPU)
    if fails:
        with pytest.raises(BadOutput, match="not finite in 8 of 8 iterations"):
            fitter.fit(image=PICTURE)
    else:
        quality.check(fitter.fit(image=PICTURE))
