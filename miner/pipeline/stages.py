"""The stages of a job, loaded: painting, cutting out, one generator, the checks.

Makes a job with the generator it is told; which one, and what if it fails, is for ``pipeline.py``.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from miner.errors import OutOfMemory, StageError
from miner.geometry.gaussians import Gaussians
from miner.gpu.device import Device
from miner.pipeline import background, quality, selfcheck, text_to_image
from miner.pipeline.attempts import SHARED_STAGES
from miner.pipeline.background import BackgroundRemover
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.fidelity import Fidelity, compare
from miner.pipeline.generator import (
    TRIPOSR,
    Call,
    Generator,
    Lifted,
    ProgressCallback,
    Subject,
)
from miner.pipeline.generators import Generators
from miner.pipeline.prompts import clean_prompt
from miner.pipeline.quality import QualityReport
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.residence import Model, Residence
from miner.pipeline.result import GenerationResult, Painting
from miner.pipeline.selfcheck import SelfCheck, Verdict
from miner.pipeline.shortage import Shortages, with_less
from miner.pipeline.stage import CancelFlag, Timings, stage, translated
from miner.pipeline.text_to_image import TextToImage
from miner.pipeline.work import Work
from miner.settings import FEW_STEP_PIPELINE, Preset

Result = TypeVar("Result")

FEW_STEPS = 4
"""At most, of the distilled FLUX."""

log = logging.getLogger(__name__)


class Stages:
    """Loaded stages; one instance serves one caller at a time.

    Attributes:
        shortages: where memory ran out, until somebody asks.
    """

    def __init__(
        self,
        preset: Preset,
        device: Device,
        painter: TextToImage | None,
        remover: BackgroundRemover | Residence[BackgroundRemover],
        generators: Generators | Reconstructor,
        checker: SelfCheck | Residence[SelfCheck] | None = None,
    ) -> None:
        self.preset = preset
        self.device = device
        self.painter = painter
        self.shortages = Shortages()
        self._remover = _at_home(remover, device)
        if isinstance(generators, Reconstructor):
            generators = Generators.of(generators, preset, device)
        self.generators = generators
        self._checker = None if checker is None else _at_home(checker, device)

    @property
    def remover(self) -> BackgroundRemover:
        """The matting network, loaded."""
        return self._remover.bring()

    @property
    def checker(self) -> SelfCheck | None:
        """The self-check, loaded, where the preset has one."""
        return None if self._checker is None else self._checker.bring()

    @checker.setter
    def checker(self, checker: SelfCheck | None) -> None:
        self._checker = None if checker is None else _at_home(checker, self.device)

    @property
    def checks_itself(self) -> bool:
        """Whether a result is looked at by the self-check, on the device, before it is one."""
        return self._checker is not None

    @property
    def reconstructor(self) -> Reconstructor:
        """TripoSR itself, of a pipeline that has it."""
        triposr = self.generators.bring(TRIPOSR)
        assert isinstance(triposr, ByTripoSR)
        return triposr.reconstructor

    def paint(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        cancel: CancelFlag | None = None,
        on_progress: ProgressCallback | None = None,
        steps: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> list[Painting]:
        """The first stage alone, for several prompts at once.

        Args:
            prompts: as callers give them.
            seeds: one for each.
            cancel: looked at between denoising steps.
            on_progress: told of steps.
            steps: of denoising; the preset's number when not given.
            size: width and height in pixels; the preset's square when not given.

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
        paint = partial(self.painter.paint, cleaned, seeds, cancel, report, steps, size)
        with self.memory_freed(), stage(text_to_image.STAGE, self.device, timings, cancel):
            pictures = self._with_less(text_to_image.STAGE, paint, partial(paint, small=True))
        seconds = timings[text_to_image.STAGE] / max(1, len(pictures))
        return [
            Painting(prompt, seed, picture, seconds)
            for prompt, seed, picture in zip(cleaned, seeds, pictures, strict=True)
        ]

    def make(self, name: str, steps: Sequence[str], job: Work) -> GenerationResult:
        """What one generator makes of a job."""
        if not self.knows(name):
            raise StageError(name or "generator", "the worker has no generator of that name")
        with self.memory_freed():
            subject, call = self.subject(name, steps, job), self.call(steps, job)
            with self.at_work(name) as generator:
                lifted = generator.generate(subject, call)
            verdict = self.quality_of(lifted, job)
        return self.result(name, steps, job, lifted, verdict)

    def call(self, steps: Sequence[str], job: Work) -> Call:
        """How a generator is to make a job, with these smaller steps in force."""
        return Call(
            self.device,
            job.timings,
            job.cancel,
            job.on_progress,
            job.count,
            steps,
            job.left_seconds,
            self.shortages,
        )

    @contextmanager
    def at_work(self, name: str) -> Iterator[Generator]:
        """A generator, on the device for the block.

        Raises:
            StageError: it could not be brought there.
        """
        try:
            with translated(name):
                generator = self.generators.bring(name)
            yield generator
        finally:
            self.generators.used(name)

    def quality_of(self, lifted: Lifted, job: Work) -> QualityReport:
        """The validity gate, as a stage.

        Raises:
            BadOutput: the splat is not valid.
        """
        with self._stage(quality.STAGE, job):
            return quality.check(lifted.gaussians)

    def result(
        self, name: str, steps: Sequence[str], job: Work, lifted: Lifted, verdict: QualityReport
    ) -> GenerationResult:
        """What came of a job whose splat passed the gate, with the checks that the job asks for."""
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

    def subject(self, name: str, steps: Sequence[str], job: Work) -> Subject:
        """As the generator needs it; a picture is painted and cut out once for all of them."""
        if self.generators.needs[name] == "prompt" and job.prompt is not None:
            return Subject(job.prompt, job.seed, start=job.start)
        if job.picture is None:
            self._paint(job, steps)
        if job.cutout is None:
            assert job.picture is not None
            with self._stage(background.STAGE, job), self._remover.in_use() as remover:
                cut = partial(remover.cut_out, job.picture)
                job.cutout = self._with_less(background.STAGE, cut, partial(cut, on_cpu=True))
                ratio = self.preset.background.foreground_ratio
                job.framed = background.frame(job.cutout, ratio)
        return Subject(job.prompt, job.seed, job.cutout, job.framed, job.start)

    def _paint(self, job: Work, steps: Sequence[str]) -> None:
        assert job.prompt is not None
        keys = self.preset.text_to_image
        more = ("more_steps" in steps) - ("fewer_steps" in steps)
        most = FEW_STEPS if keys.pipeline == FEW_STEP_PIPELINE else keys.steps + 1
        wanted = min(max(1, keys.steps + more), most)
        (painting,) = self.paint([job.prompt], [job.seed], job.cancel, job.on_progress, wanted)
        job.picture = painting.picture
        spent = job.timings.get(text_to_image.STAGE, 0.0)
        job.timings[text_to_image.STAGE] = spent + painting.seconds

    def visitors(self) -> list[str]:
        """Names of the models that are on the device and do not stay there."""
        homes: list[Residence[Any]] = [self._remover, *self.generators.homes()]
        homes += [] if self._checker is None else [self._checker]
        homes += [] if self.painter is None else self.painter.homes()
        return sorted(home.name for home in homes if home.visits)

    def knows(self, name: str) -> bool:
        """Whether there is a generator of that name."""
        return name in self.generators.needs

    def can_take_over(self, name: str, job: Work, error: StageError) -> bool:
        """Whether a generator could do without what failed."""
        if not self.knows(name):
            return False
        if self.generators.needs[name] == "prompt":
            return job.prompt is not None
        return error.stage not in SHARED_STAGES

    def _check(self, job: Work, gaussians: Gaussians) -> Verdict | None:
        """What the self-check says; a check that fails costs the verdict, not the splat."""
        if self._checker is None:
            return None
        asked = job.picture if job.prompt is None else job.prompt
        assert asked is not None
        try:
            with (
                self.memory_freed(),
                self._stage(selfcheck.STAGE, job),
                self._checker.in_use() as checker,
            ):
                judge = partial(checker.judge, gaussians, asked)
                return self._with_less(selfcheck.STAGE, judge, partial(judge, small=True))
        except StageError as error:
            log.warning("the self-check did not work: %s", error)
            return None

    def _compare(self, job: Work, lifted: Lifted) -> Fidelity | None:
        """Only TripoSR has a field to compare with."""
        if lifted.codes is None or lifted.surface is None:
            return None
        with self._stage("fidelity", job):
            model = self.reconstructor.model
            return compare(model, lifted.codes, lifted.gaussians, lifted.surface)

    def _with_less(
        self, name: str, usual: Callable[[], Result], smaller: Callable[[], Result]
    ) -> Result:
        return with_less(name, self.device, self.shortages, usual, smaller)

    @contextmanager
    def _stage(self, name: str, job: Work) -> Iterator[None]:
        report = _reporter(job.on_progress, name)
        report(0, 1)
        with stage(name, self.device, job.timings, job.cancel):
            yield
        report(1, 1)

    @contextmanager
    def memory_freed(self) -> Iterator[None]:
        """Lets go of what the failed stage still held when memory ran out."""
        try:
            yield
        except OutOfMemory as error:
            if error.__cause__ is not None:
                traceback.clear_frames(error.__cause__.__traceback__)
            self.device.release()
            raise


def _at_home(model: Model | Residence[Model], device: Device) -> Residence[Model]:
    """A model that was loaded by others is always here."""
    if isinstance(model, Residence):
        return model
    return Residence(lambda: model, "resident", 0.0, device)


def _reporter(on_progress: ProgressCallback | None, name: str) -> Callable[[int, int], None]:
    """A callback for the steps of one stage."""

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(name, done, total)

    return report
