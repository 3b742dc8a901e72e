"""The whole line, resident and warm: a prompt or a picture goes in, checked Gaussians come out.

    text_to_image -> background -> reconstruct -> surface -> quality -> self_check

One instance serves one caller at a time. Files, formats and queues are the business of others.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from miner.errors import OutOfMemory, StageError
from miner.geometry.gaussians import Gaussians
from miner.gpu.allocator import keep_freed_memory
from miner.gpu.device import Device, choose_device
from miner.gpu.weights import WeightStore
from miner.pipeline import background, quality, reconstruct, selfcheck, text_to_image
from miner.pipeline.background import BackgroundRemover
from miner.pipeline.fidelity import Fidelity, compare
from miner.pipeline.prompts import clean_prompt
from miner.pipeline.quality import QualityReport
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.selfcheck import SelfCheck, Verdict
from miner.pipeline.stage import CancelFlag, Timings, stage
from miner.pipeline.text_to_image import TextToImage
from miner.settings import Preset
from miner.triposr.surface import SurfaceReport

WARM_UP_PROMPT = "a red cube"

log = logging.getLogger(__name__)

ProgressCallback = Callable[[str, int, int], None]
"""Called with the name of a stage, its steps done and its steps in all, as a stage goes on."""


@dataclass(frozen=True, eq=False)
class Painting:
    """What the first stage makes of one prompt.

    Attributes:
        prompt: as it was checked and cleaned, without the template.
        seconds: its share of the time of the batch it was painted in.
    """

    prompt: str
    seed: int
    picture: Image.Image
    seconds: float


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A finished job, with what came of each stage.

    Attributes:
        prompt: None where a picture was given instead.
        gaussians: in the scene frame, past the validity gate.
        picture: what the second stage was given, RGB or RGBA.
        cutout: the picture with the object's coverage as alpha, RGBA.
        framed: [S,S,3] float32 in [0,1], what the third stage was given.
        surface: what the extraction took.
        quality: what the gate measured.
        fidelity: the splat against its field, where that was asked for.
        timings: seconds by stage, in order.
        check: what the self-check found; None where it is off, or did not work.
        candidates: how many were made, this one included.
    """

    prompt: str | None
    seed: int
    gaussians: Gaussians
    picture: Image.Image
    cutout: Image.Image
    framed: NDArray[np.float32]
    surface: SurfaceReport
    quality: QualityReport
    fidelity: Fidelity | None
    timings: Timings
    check: Verdict | None = None
    candidates: int = 1


class Pipeline:
    """Loaded stages and how to run them.

    Attributes:
        load_timings: seconds that loading each stage took.
    """

    def __init__(
        self,
        preset: Preset,
        device: Device,
        painter: TextToImage | None,
        remover: BackgroundRemover,
        reconstructor: Reconstructor,
        checker: SelfCheck | None = None,
    ) -> None:
        self.preset = preset
        self.device = device
        self.painter = painter
        self.remover = remover
        self.reconstructor = reconstructor
        self.checker = checker
        self.load_timings: Timings = {}

    @classmethod
    def load(
        cls,
        preset: Preset,
        weights_dir: Path,
        device: str = "auto",
        text_to_image_too: bool = True,
    ) -> Pipeline:
        """All stages of a preset, from files on this machine.

        Args:
            preset: what to load.
            weights_dir: where ``miner fetch`` put the weights.
            device: ``auto``, ``cpu`` or ``cuda``.
            text_to_image_too: False leaves the first and largest stage out, for pictures only.

        Raises:
            WeightsError: a file is missing, damaged or not what it should be.
            DeviceError: the device is not there.
            OutOfMemory: the models do not fit on the device.
        """
        place = choose_device(device)
        keep_freed_memory()
        store = WeightStore(weights_dir, preset.name)
        cutting, lifting, painting = preset.background, preset.reconstruct, preset.text_to_image
        checking = preset.self_check
        wanted = [cutting.weights, lifting.weights]
        wanted += [painting.weights] if text_to_image_too else []
        wanted += [checking.weights] if checking.mode != "off" else []
        found = {reference: store.find(reference) for reference in wanted}  # before any loads
        timings: Timings = {}

        @contextmanager
        def loading(name: str, reference: str) -> Iterator[Path]:
            with stage(name, place, timings, CancelFlag()), store.reading(reference):
                yield found[reference]

        with loading(background.STAGE, cutting.weights) as path:
            remover = BackgroundRemover.load(path, cutting, place)
        with loading(reconstruct.STAGE, lifting.weights) as path:
            reconstructor = Reconstructor.load(path, lifting, place)
        painter = None
        if text_to_image_too:
            with loading(text_to_image.STAGE, painting.weights) as path:
                painter = TextToImage.load(path, painting, place)
        checker = None
        if checking.mode != "off":
            with loading(selfcheck.STAGE, checking.weights) as path:
                checker = SelfCheck.load(path, checking, place)
        pipeline = cls(preset, place, painter, remover, reconstructor, checker)
        pipeline.load_timings = timings
        return pipeline

    def warm_up(self) -> GenerationResult:
        """Runs one small job, so that the first caller does not pay for lazy initialisation."""
        count = min(7_000, self.preset.surface.count)
        if self.painter is not None:
            return self.generate(prompt=WARM_UP_PROMPT, count=count)
        side = self.preset.text_to_image.size_px
        ball = np.hypot(*np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]) < 0.7
        rgba = np.stack([np.full_like(ball, 200, np.uint8)] * 3 + [ball * np.uint8(255)], -1)
        return self.generate(image=Image.fromarray(rgba), count=count)

    def paint(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        cancel: CancelFlag | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> list[Painting]:
        """The first stage alone, for several prompts at once.

        Raises:
            BadPrompt: one of the prompts is not one; nothing is painted.
            StageError: painting failed.
            JobCancelled: the flag was set.
        """
        assert self.painter is not None, "this pipeline was loaded for pictures only"
        cleaned = [clean_prompt(prompt) for prompt in prompts]
        report = _reporter(on_progress, text_to_image.STAGE)
        timings: Timings = {}
        cancel = cancel or CancelFlag()
        with self._memory_freed(), stage(text_to_image.STAGE, self.device, timings, cancel):
            pictures = self.painter.paint(cleaned, seeds, cancel, report)
        seconds = timings[text_to_image.STAGE] / max(1, len(pictures))
        return [
            Painting(prompt, seed, picture, seconds)
            for prompt, seed, picture in zip(cleaned, seeds, pictures, strict=True)
        ]

    def generate(
        self,
        prompt: str | None = None,
        image: Image.Image | Painting | None = None,
        seed: int = 0,
        count: int | None = None,
        measure: bool = False,
        cancel: CancelFlag | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> GenerationResult:
        """Gaussians for a prompt, or for a picture or painting, which skips the first stage.

        Args:
            prompt: what to make; not together with ``image``.
            image: a picture as ``images.load_image`` gives it, or what ``paint`` returned.
            seed: of the noise and of the samples on the surface; equal seeds give equal results.
            count: Gaussians to place; the preset's when not given.
            measure: also compare the splat with its field, which takes seconds.
            cancel: looked at between stages and between denoising steps.
            on_progress: told of stages and steps.

        Raises:
            BadPrompt: the prompt is not one.
            BadOutput: a stage's result is not usable: no object, no surface, an invalid splat.
            OutOfMemory: memory ran out; what was in use is free again.
            StageError: a stage failed in another way.
            JobCancelled: the flag was set.
        """
        assert (prompt is None) != (image is None), "either a prompt or a picture"
        cancel = cancel or CancelFlag()
        if prompt is not None:
            image = self.paint([prompt], [seed], cancel, on_progress)[0]
        timings: Timings = {}
        if isinstance(image, Painting):
            timings[text_to_image.STAGE] = image.seconds
            prompt, seed, image = image.prompt, image.seed, image.picture
        assert image is not None
        with self._memory_freed():
            job = _Job(prompt, seed, image, timings, cancel, on_progress)
            return self._lift(job, count, measure)

    def _lift(self, job: _Job, count: int | None, measure: bool) -> GenerationResult:
        """From the picture on."""
        keys = self.preset.surface
        keys = keys if count is None else keys.model_copy(update={"count": count})
        with self._stage(background.STAGE, job):
            cutout = self.remover.cut_out(job.picture)
            framed = background.frame(cutout, self.preset.background.foreground_ratio)
        with self._stage(reconstruct.STAGE, job):
            codes = self.reconstructor.encode(framed)
        with self._stage(reconstruct.SURFACE_STAGE, job):
            gaussians, surface = self.reconstructor.to_gaussians(codes, keys, job.seed)
        with self._stage(quality.STAGE, job):
            verdict = quality.check(gaussians)
        found = self._check(job, gaussians)
        fidelity = self._compare(job, codes, gaussians, surface) if measure else None
        return GenerationResult(
            job.prompt,
            job.seed,
            gaussians,
            job.picture,
            cutout,
            framed,
            surface,
            verdict,
            fidelity,
            job.timings,
            found,
        )

    def _check(self, job: _Job, gaussians: Gaussians) -> Verdict | None:
        """What the self-check says; a check that fails costs the verdict, not the splat."""
        if self.checker is None:
            return None
        asked = job.picture if job.prompt is None else job.prompt
        try:
            with self._memory_freed(), self._stage(selfcheck.STAGE, job):
                return self.checker.judge(gaussians, asked)
        except StageError as error:
            log.warning("the self-check did not work: %s", error)
            return None

    def _compare(
        self, job: _Job, codes: Tensor, gaussians: Gaussians, surface: SurfaceReport
    ) -> Fidelity:
        with self._stage("fidelity", job):
            return compare(self.reconstructor.model, codes, gaussians, surface)

    @contextmanager
    def _stage(self, name: str, job: _Job) -> Iterator[None]:
        report = _reporter(job.on_progress, name)
        report(0, 1)
        with stage(name, self.device, job.timings, job.cancel):
            yield
        report(1, 1)

    @contextmanager
    def _memory_freed(self) -> Iterator[None]:
        """Lets go of what the failed stage still held when memory ran out."""
        try:
            yield
        except OutOfMemory as error:
            if error.__cause__ is not None:
                traceback.clear_frames(error.__cause__.__traceback__)
            self.device.release()
            raise


@dataclass(frozen=True, eq=False)
class _Job:
    """What one call carries from stage to stage."""

    prompt: str | None
    seed: int
    picture: Image.Image
    timings: Timings
    cancel: CancelFlag
    on_progress: ProgressCallback | None


def _reporter(on_progress: ProgressCallback | None, name: str) -> Callable[[int, int], None]:
    """A callback for the steps of one stage."""

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(name, done, total)

    return report
