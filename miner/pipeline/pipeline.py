"""The whole line, resident and warm: a prompt or a picture goes in, checked Gaussians come out.

    text_to_image -> background -> reconstruct -> surface -> quality -> self_check
                         `-------> another generator ---------^

Which generator makes a job's Gaussians its plan says. One instance serves one caller at a time.
Files, formats and queues are the business of others.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miner.errors import DeadlineExceeded, OutOfMemory, StageError
from miner.geometry.gaussians import Gaussians
from miner.gpu.allocator import keep_freed_memory
from miner.gpu.device import Device, choose_device
from miner.gpu.weights import WeightStore
from miner.job import Plan
from miner.pipeline import background, quality, selfcheck, text_to_image
from miner.pipeline.attempts import SHARED_STAGES, attempt
from miner.pipeline.background import BackgroundRemover
from miner.pipeline.breaker import SELF_CHECK
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.fidelity import Fidelity, compare
from miner.pipeline.generator import TRIPOSR, Call, Lifted, ProgressCallback, Subject
from miner.pipeline.generators import Generators, kinds_for
from miner.pipeline.prompts import clean_prompt
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.result import GenerationResult, Painting
from miner.pipeline.selfcheck import SelfCheck, Verdict
from miner.pipeline.stage import CancelFlag, Timings, stage, translated
from miner.pipeline.text_to_image import TextToImage
from miner.settings import FEW_STEP_PIPELINE, Preset, RollbackSettings

__all__ = ["GenerationResult", "Painting", "Pipeline", "ProgressCallback"]

WARM_UP_PROMPT = "a red cube"

FEW_STEPS = 4
"""At most, of the distilled FLUX."""

log = logging.getLogger(__name__)


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
        generators: Generators | Reconstructor,
        checker: SelfCheck | None = None,
    ) -> None:
        self.preset = preset
        self.device = device
        self.painter = painter
        self.remover = remover
        if isinstance(generators, Reconstructor):
            generators = Generators.of(generators, preset, device)
        self.generators = generators
        self.checker = checker
        self.load_timings: Timings = {}

    @classmethod
    def load(
        cls,
        preset: Preset,
        weights_dir: Path,
        device: str = "auto",
        text_to_image_too: bool = True,
        rollback: RollbackSettings | None = None,
    ) -> Pipeline:
        """All stages of a preset, from files on this machine.

        Args:
            preset: what to load.
            weights_dir: where ``miner fetch`` put the weights.
            device: ``auto``, ``cpu`` or ``cuda``.
            text_to_image_too: False leaves the first and largest stage out, for pictures only.
            rollback: which generators; TripoSR alone when not given.

        Raises:
            WeightsError: a file is missing, damaged or not what it should be.
            DeviceError: the device is not there.
            OutOfMemory: the models do not fit on the device.
        """
        place = choose_device(device)
        keep_freed_memory()
        store = WeightStore(weights_dir, preset.name)
        cutting, painting, checking = preset.background, preset.text_to_image, preset.self_check
        kinds = kinds_for(preset, rollback)
        wanted = [cutting.weights]
        wanted += [reference for kind in kinds.values() for reference in kind.weights(preset)]
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
        settings = rollback or RollbackSettings()
        generators = Generators.load(kinds, preset, store, place, loading, settings)
        painter = None
        if text_to_image_too:
            with loading(text_to_image.STAGE, painting.weights) as path:
                painter = TextToImage.load(path, painting, place)
        checker = None
        if checking.mode != "off":
            with loading(selfcheck.STAGE, checking.weights) as path:
                checker = SelfCheck.load(path, checking, place)
        pipeline = cls(preset, place, painter, remover, generators, checker)
        pipeline.load_timings = timings
        return pipeline

    @property
    def reconstructor(self) -> Reconstructor:
        """TripoSR itself, of a pipeline that has it."""
        triposr = self.generators.bring(TRIPOSR)
        assert isinstance(triposr, ByTripoSR)
        return triposr.reconstructor

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
        steps: int | None = None,
    ) -> list[Painting]:
        """The first stage alone, for several prompts at once; in the preset's number of steps.

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
            pictures = self.painter.paint(cleaned, seeds, cancel, report, steps)
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
        plan: Plan | None = None,
    ) -> GenerationResult:
        """Gaussians for a prompt, or for a picture or painting, which skips the first stage.

        Args:
            prompt: what to make; not together with ``image``.
            image: a picture as ``images.load_image`` gives it, or what ``paint`` returned.
            seed: of the noise and of the samples on the surface; equal seeds give equal results.
            count: Gaussians to place, where the generator can choose; else the preset's number.
            measure: also compare the splat with its field, which takes seconds.
            cancel: looked at between stages and between denoising steps.
            on_progress: told of stages and steps.
            plan: which generator, and what if it fails; the first alone when not given.

        Raises:
            BadPrompt: the prompt is not one.
            BadOutput: a stage's result is not usable: no object, no surface, an invalid splat.
            OutOfMemory: memory ran out; what was in use is free again.
            StageError: a stage failed in another way.
            DeadlineExceeded: the plan left no time.
            JobCancelled: the flag was set.
        """
        assert (prompt is None) != (image is None), "either a prompt or a picture"
        timings: Timings = {}
        if isinstance(image, Painting):
            timings[text_to_image.STAGE] = image.seconds
            prompt, seed, image = image.prompt, image.seed, image.picture
        elif prompt is not None:
            prompt = clean_prompt(prompt)
        plan = plan or Plan()
        left_seconds = clock_of(plan)
        plan = replace(plan, generator=plan.generator or self.generators.names[0])
        cancel = cancel or CancelFlag()
        job = _Job(prompt, seed, image, timings, cancel, on_progress, count, measure, left_seconds)
        self.generators.rest()
        made = attempt(
            plan,
            lambda name, steps: self._by(name, steps, job),
            left_seconds,
            lambda error: self._can_take_over(plan.fallback, job, error),
            _tell,
        )
        return replace(made.result, cause=made.cause)

    def better(
        self,
        doubted: GenerationResult,
        plan: Plan,
        cancel: CancelFlag | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> GenerationResult:
        """Has the fallback try what the self-check doubts, and returns the better of the two.

        The fallback begins with the doubted splat, and what goes wrong with it is only told.

        Args:
            doubted: of the plan's own generator.
            plan: with the time that is left now.
            cancel: looked at between stages and steps.
            on_progress: told of stages and steps.

        Raises:
            JobCancelled: the flag was set.
        """
        doubted = replace(doubted, cause=SELF_CHECK)
        left_seconds = clock_of(plan)
        if not self._knows(plan.fallback) or left_seconds() < plan.least_seconds:
            return doubted
        flag = cancel or CancelFlag()
        job = _Job(
            doubted.prompt,
            doubted.seed,
            doubted.picture,
            dict(doubted.timings),
            flag,
            on_progress,
            left_seconds=left_seconds,
            cutout=doubted.cutout,
            framed=doubted.framed,
            start=doubted.gaussians,
        )
        try:
            other = self._by(plan.fallback, (), job)
        except (StageError, DeadlineExceeded) as error:
            log.warning("%s could not better it: %s", plan.fallback, error)
            return replace(doubted, timings=job.timings)
        best = other if other.score > doubted.score else doubted
        return replace(best, cause=SELF_CHECK, timings=job.timings)

    def _by(self, name: str, steps: Sequence[str], job: _Job) -> GenerationResult:
        """What one generator makes of a job."""
        if not self._knows(name):
            raise StageError(name or "generator", "the worker has no generator of that name")
        with self._memory_freed():
            subject = self._subject(name, steps, job)
            call = Call(
                self.device,
                job.timings,
                job.cancel,
                job.on_progress,
                job.count,
                steps,
                job.left_seconds,
            )
            with translated(name):
                generator = self.generators.bring(name)
            lifted = generator.generate(subject, call)
            self.generators.used(name)
            with self._stage(quality.STAGE, job):
                verdict = quality.check(lifted.gaussians)
        found = self._check(job, lifted.gaussians)
        return GenerationResult(
            job.prompt,
            job.seed,
            lifted.gaussians,
            job.picture,
            job.cutout,
            job.framed,
            lifted.surface,
            verdict,
            self._compare(job, lifted) if job.measure else None,
            job.timings,
            found,
            generator=name,
            steps=tuple(steps),
        )

    def _subject(self, name: str, steps: Sequence[str], job: _Job) -> Subject:
        """As the generator needs it; a picture is painted and cut out once for all of them."""
        if self.generators.needs[name] == "prompt" and job.prompt is not None:
            return Subject(job.prompt, job.seed, start=job.start)
        if job.picture is None:
            self._paint(job, steps)
        if job.cutout is None:
            assert job.picture is not None
            with self._stage(background.STAGE, job):
                job.cutout = self.remover.cut_out(job.picture)
                ratio = self.preset.background.foreground_ratio
                job.framed = background.frame(job.cutout, ratio)
        return Subject(job.prompt, job.seed, job.cutout, job.framed, job.start)

    def _paint(self, job: _Job, steps: Sequence[str]) -> None:
        assert job.prompt is not None
        keys = self.preset.text_to_image
        more = ("more_steps" in steps) - ("fewer_steps" in steps)
        most = FEW_STEPS if keys.pipeline == FEW_STEP_PIPELINE else keys.steps + 1
        wanted = min(max(1, keys.steps + more), most)
        (painting,) = self.paint([job.prompt], [job.seed], job.cancel, job.on_progress, wanted)
        job.picture = painting.picture
        spent = job.timings.get(text_to_image.STAGE, 0.0)
        job.timings[text_to_image.STAGE] = spent + painting.seconds

    def _knows(self, name: str) -> bool:
        return name in self.generators.needs

    def _can_take_over(self, name: str, job: _Job, error: StageError) -> bool:
        """Whether a generator could do without what failed."""
        if not self._knows(name):
            return False
        if self.generators.needs[name] == "prompt":
            return job.prompt is not None
        return error.stage not in SHARED_STAGES

    def _check(self, job: _Job, gaussians: Gaussians) -> Verdict | None:
        """What the self-check says; a check that fails costs the verdict, not the splat."""
        if self.checker is None:
            return None
        asked = job.picture if job.prompt is None else job.prompt
        assert asked is not None
        try:
            with self._memory_freed(), self._stage(selfcheck.STAGE, job):
                return self.checker.judge(gaussians, asked)
        except StageError as error:
            log.warning("the self-check did not work: %s", error)
            return None

    def _compare(self, job: _Job, lifted: Lifted) -> Fidelity | None:
        """Only TripoSR has a field to compare with."""
        if lifted.codes is None or lifted.surface is None:
            return None
        with self._stage("fidelity", job):
            model = self.reconstructor.model
            return compare(model, lifted.codes, lifted.gaussians, lifted.surface)

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


@dataclass(eq=False)
class _Job:
    """What one call carries from stage to stage, and from one generator to the next.

    Attributes:
        picture, cutout, framed: None until they are made.
        start: what a generator may begin with.
    """

    prompt: str | None
    seed: int
    picture: Image.Image | None
    timings: Timings
    cancel: CancelFlag
    on_progress: ProgressCallback | None
    count: int | None = None
    measure: bool = False
    left_seconds: Callable[[], float] = field(default=lambda: math.inf)
    cutout: Image.Image | None = None
    framed: NDArray[np.float32] | None = None
    start: Gaussians | None = None


def clock_of(plan: Plan) -> Callable[[], float]:
    """How many seconds a plan has left, from now on."""
    if plan.seconds is None:
        return lambda: math.inf
    until = time.monotonic() + plan.seconds
    return lambda: until - time.monotonic()


def _tell(name: str, error: StageError) -> None:
    """For the log of whoever runs this: the next turn may hide that there was a failure."""
    log.warning("%s failed: %s", name, error, exc_info=error.__cause__)


def _reporter(on_progress: ProgressCallback | None, name: str) -> Callable[[int, int], None]:
    """A callback for the steps of one stage."""

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(name, done, total)

    return report
