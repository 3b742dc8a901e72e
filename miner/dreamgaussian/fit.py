"""The fit itself: from a picture or a prompt to Gaussians, by gradient descent.

After Tang et al., "DreamGaussian" (2023), stage one. In every iteration some views are rendered,
the guidance says how they should look, the known view says what it is known to show, Adam takes a
step, and now and then Gaussians are added and taken away. The mesh of stage two is not made: splats
are what we deliver.

On a CPU the same seed gives the same bits, unless a deadline cuts the iterations short. On CUDA
sums are taken in any order, so only nearly the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from miner.dreamgaussian import losses, starts
from miner.dreamgaussian.densify import Stats, densify, observe, reset_opacity
from miner.dreamgaussian.finish import finish
from miner.dreamgaussian.guidance import Guidance, Imagines, Subject
from miner.dreamgaussian.guidance_load import load_guidance
from miner.dreamgaussian.params import (
    Cloud,
    Training,
    adam,
    begin,
    from_gaussians,
)
from miner.dreamgaussian.poses import draw_poses, reference_pose
from miner.dreamgaussian.reference import STAGE, framed
from miner.dreamgaussian.schedules import Pace, crossed, learning_rates, view_size
from miner.dreamgaussian.settings import FitSettings
from miner.dreamgaussian.targets import Target, imagined_targets, known_targets
from miner.errors import BadOption, BadOutput, DeadlineExceeded
from miner.geometry.cameras import Camera
from miner.geometry.gaussians import Gaussians
from miner.gpu.device import Device
from miner.gpu.parking import weight_bytes
from miner.gpu.weights import WeightStore
from miner.rendering.backgrounds import background_color
from miner.rendering.rasterize import rasterize

LOST_SHARE = 0.5
"""Of a fit's iterations: with more gradients than this not finite, nothing was fitted."""
FINISH_SECONDS = 0.3
"""Kept back of the time there is, for what follows the last iteration."""

Progress = Callable[[int, int], None]
"""Called with the iterations done and the iterations in all, as far as is known by then."""


class Cancel(Protocol):
    """The flag by which another thread asks the fit to stop."""

    def check(self) -> None:
        """Raises when it is set."""


@dataclass(frozen=True)
class FitReport:
    """What a fit took.

    Attributes:
        iterations: done.
        seconds: from the call to the splat.
        prepare_seconds: until the first iteration.
        fitted: Gaussians after the last iteration.
        delivered: Gaussians in the splat.
    """

    iterations: int
    seconds: float
    prepare_seconds: float
    fitted: int
    delivered: int


@dataclass
class _Run:
    """One fit under way; written to by ``Fitter`` alone."""

    training: Training
    stats: Stats
    targets: list[Target]
    generator: torch.Generator
    random_start: bool
    pace: Pace
    not_finite: int = 0


class Fitter:
    """A configuration with its guidance loaded; serves one caller at a time.

    Attributes:
        settings: of every fit.
        last: of the last fit that came to its end; None before there was one.
    """

    def __init__(
        self,
        settings: FitSettings,
        guidance: Guidance | None,
        device: Device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.device = device
        self.last: FitReport | None = None
        self._guidance = guidance
        self._clock = clock
        self._background = torch.tensor(
            background_color(settings.views.background), device=device.torch_device
        )

    @classmethod
    def load(cls, settings: FitSettings, store: WeightStore, device: Device) -> Fitter:
        """A fitter with the guidance that the settings name.

        Raises:
            WeightsError: the guidance's weights are missing or damaged.
            ConfigError: they are no entry of the manifest.
        """
        keys = settings.guidance
        if keys.weight == 0.0:
            return cls(settings, None, device)
        folder = store.find(keys.weights)
        vae = store.find(keys.vae_weights) if keys.vae_weights else None
        with store.reading(keys.weights):
            return cls(settings, load_guidance(folder, vae, keys, device), device)

    @property
    def weight_bytes(self) -> int:
        """Of the guidance's networks; 0 without one."""
        return 0 if self._guidance is None else sum(map(weight_bytes, self._guidance.networks()))

    def shortened(self, iters: int) -> Fitter:
        """A fitter with the same guidance and so many iterations."""
        fewer = {"iters": iters, "min_iters": iters}
        settings = self.settings.model_copy(update=fewer)
        return Fitter(settings, self._guidance, self.device, self._clock)

    def move(self, place: torch.device | str) -> None:
        """The guidance's networks to another device's memory and back; a fit needs them here."""
        if self._guidance is not None:
            for network in self._guidance.networks():
                network.to(place)

    def fit(
        self,
        image: Image.Image | None = None,
        prompt: str | None = None,
        start: Gaussians | None = None,
        seed: int = 0,
        deadline_seconds: float | None = None,
        cancel: Cancel | None = None,
        on_progress: Progress | None = None,
    ) -> Gaussians:
        """A splat of the object in the picture, or of what the prompt names.

        Args:
            image: RGBA, the object cut out; wanted by a guidance that looks at pictures.
            prompt: wanted by one that reads.
            start: Gaussians in the scene frame to begin with, such as TripoSR's.
            seed: of everything that is drawn.
            deadline_seconds: how long this call may take. Iterations grow fewer, never fewer than
                ``settings.min_iters``.
            cancel: looked at before every iteration.
            on_progress: told after every iteration.

        Returns:
            Gaussians in the scene frame, centred, the longest side 1.5, at least
            ``settings.output.min_gaussians`` of them.

        Raises:
            BadOption: the guidance wants a picture or a prompt, and there is none.
            BadOutput: the picture is empty, or nothing came of the fit.
            DeadlineExceeded: no time is left to begin.
            JobCancelled: the flag was set.
        """
        began = self._clock()
        self._check(image, prompt, deadline_seconds)
        run = self._prepare(image, prompt, start, seed)
        run.pace.deadline = math.inf if deadline_seconds is None else began + deadline_seconds
        run.pace.deadline -= FINISH_SECONDS
        prepared = self._clock()
        while not run.pace.finished:
            if cancel is not None:
                cancel.check()
            run.pace.begin()
            before = run.pace.position
            self._iterate(run, before)
            self.device.synchronize()
            self._change_number(run, before, run.pace.end())
            if on_progress is not None:
                on_progress(run.pace.done, run.pace.done + run.pace.remaining)
        if run.not_finite > run.pace.done * LOST_SHARE:
            found = f"{run.not_finite} of {run.pace.done} iterations"
            raise BadOutput(STAGE, f"gradients were not finite in {found}")
        gaussians = finish(run.training.cloud, self.settings.output)
        self.last = FitReport(
            iterations=run.pace.done,
            seconds=self._clock() - began,
            prepare_seconds=prepared - began,
            fitted=len(run.training),
            delivered=len(gaussians),
        )
        return gaussians

    def _check(
        self, image: Image.Image | None, prompt: str | None, deadline_seconds: float | None
    ) -> None:
        wants_image = self._guidance.wants_image if self._guidance else True
        if wants_image and image is None:
            raise BadOption(f"the configuration {self.settings.name} needs a picture")
        if not wants_image and prompt is None:
            raise BadOption(f"the configuration {self.settings.name} needs a prompt")
        if deadline_seconds is not None and deadline_seconds <= 0.0:
            raise DeadlineExceeded("no time is left for a fit")

    def _prepare(
        self, image: Image.Image | None, prompt: str | None, start: Gaussians | None, seed: int
    ) -> _Run:
        """Everything before the first iteration."""
        settings, views = self.settings, self.settings.views
        generator = torch.Generator().manual_seed(seed)
        picture = None
        if image is not None:
            picture = framed(image, views.reference_size_px, views.foreground_ratio)
        cloud = self._start(start, picture, generator).map(
            lambda tensor: tensor.to(self.device.torch_device)
        )
        targets = [] if picture is None else known_targets(picture, settings, self.device)
        if self._guidance is not None:
            subject = Subject(picture, prompt, reference_pose(views), self._background)
            self._guidance.prepare(subject, seed)
            if settings.losses.imagined_views and isinstance(self._guidance, Imagines):
                targets += imagined_targets(self._guidance, settings, generator, self._background)
        if not targets and self._guidance is None:
            raise BadOption(f"the configuration {settings.name} has nothing to fit to")
        training = begin(cloud)
        pace = Pace(settings.iters, settings.min_iters, math.inf, self._clock, self._work)
        return _Run(training, Stats.empty(training), targets, generator, start is None, pace)

    def _start(
        self, start: Gaussians | None, picture: Tensor | None, generator: torch.Generator
    ) -> Cloud:
        keys, views = self.settings.start, self.settings.views
        if start is not None and len(start):
            cloud = from_gaussians(start)
            return starts.from_splat(cloud, keys.max_given, picture, views, generator)
        if keys.kind == "silhouette" and picture is not None:
            return starts.silhouette(picture, views, keys, generator)
        return starts.random_ball(keys, generator)

    def _work(self, position: float) -> float:
        """Pixels rendered in an iteration, by which its time is foretold; a part does not grow."""
        views = self.settings.views
        side = view_size(views, position / self.settings.iters)
        novel = views.batch_size * (self._guidance.group if self._guidance else 0)
        known = len(self.settings.losses.known)
        return 64.0**2 + novel * side**2 + known * views.reference_size_px**2

    def _iterate(self, run: _Run, position: float) -> None:
        """Render, judge, step, and remember what densification goes by."""
        progress = position / self.settings.iters
        leaf = run.training.cloud.leaf()
        loss, watched = self._guidance_loss(run, leaf, progress)
        loss = loss + self._target_loss(run, leaf, progress)
        probes = [probe for probe, _ in watched]
        gradients = torch.autograd.grad(
            loss, [*leaf.tensors(), *probes], allow_unused=True, materialize_grads=True
        )
        if not math.isfinite(loss.item()):
            raise BadOutput(STAGE, "the loss is no longer a finite number")
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients[:5]):
            run.not_finite += 1
        rates = learning_rates(self.settings.rates, position, run.random_start)
        run.training = adam(run.training, Cloud(*gradients[:5]), rates)
        for (_, camera), gradient in zip(watched, gradients[5:], strict=True):
            run.stats = observe(run.stats, leaf, gradient, camera)

    def _guidance_loss(
        self, run: _Run, leaf: Cloud, progress: float
    ) -> tuple[Tensor, list[tuple[Tensor, Camera]]]:
        """The guidance's loss; for each view a probe whose gradient is the centres' through it."""
        if self._guidance is None:
            return leaf.means.new_zeros(()), []
        views = self.settings.views
        size = view_size(views, progress)
        poses = draw_poses(views, self._guidance.group, run.generator)
        background = self._draw_background(run.generator)
        pictures, watched = [], []
        for pose in poses:
            camera = pose.camera(views.fovy, size)
            probe = torch.zeros_like(leaf.means, requires_grad=True)
            image, _ = _render(leaf, camera, background, probe)
            pictures.append(image)
            watched.append((probe, camera))
        judged = self._guidance.loss(torch.stack(pictures), poses, progress, run.generator)
        return judged, watched

    def _target_loss(self, run: _Run, leaf: Cloud, progress: float) -> Tensor:
        """The losses of all that is known or imagined of some views."""
        keys, views = self.settings.losses, self.settings.views
        total = leaf.means.new_zeros(())
        grown = progress if keys.warmup_rgb_loss else 1.0
        for target in self._chosen(run):
            camera = target.pose.camera(views.fovy, target.picture.shape[0])
            background = self._background
            if keys.within_outline:
                background = torch.rand(3, generator=run.generator).to(background)
            image, alpha = _render(leaf, camera, background)
            share = 1.0 if target.imagined else grown
            colors, coverage = losses.known_view(
                image, alpha, target.picture, background, keys.within_outline
            )
            total = total + share * (target.rgb * colors + target.mask * coverage)
        return total

    def _chosen(self, run: _Run) -> list[Target]:
        """All known targets, and the next ``imagined_per_step`` of the imagined ones in turn."""
        known = [target for target in run.targets if not target.imagined]
        imagined = [target for target in run.targets if target.imagined]
        if not imagined:
            return known
        count = min(self.settings.losses.imagined_per_step, len(imagined))
        first = run.pace.done * count
        return known + [imagined[(first + i) % len(imagined)] for i in range(count)]

    def _draw_background(self, generator: torch.Generator) -> Tensor:
        inverted = torch.rand((), generator=generator).item() < self.settings.views.invert_bg_prob
        return 1.0 - self._background if inverted else self._background

    def _change_number(self, run: _Run, before: float, after: float) -> None:
        """Densification and resets, when the schedule says so."""
        keys = self.settings.density
        if not keys.density_start_iter <= after <= keys.density_end_iter:
            return
        if crossed(before, after, keys.densification_interval):
            run.training = densify(run.training, run.stats, keys, run.generator)
            if not len(run.training):
                raise BadOutput(STAGE, "every Gaussian was pruned")
            run.stats = Stats.empty(run.training)
        if keys.opacity_reset_interval and crossed(before, after, keys.opacity_reset_interval):
            run.training = reset_opacity(run.training)


def _render(
    cloud: Cloud, camera: Camera, background: Tensor, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    means = cloud.means if probe is None else cloud.means + probe
    return rasterize(
        means, cloud.quats, cloud.scales, cloud.opacities, cloud.colors, camera, background
    )
