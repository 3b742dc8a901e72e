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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from miner.errors import DeadlineExceeded, StageError
from miner.gpu.allocator import keep_freed_memory
from miner.gpu.device import choose_device
from miner.gpu.plan import MemoryPlan
from miner.gpu.weights import WeightStore
from miner.job import Plan
from miner.pipeline import background, selfcheck, text_to_image
from miner.pipeline.attempts import attempt
from miner.pipeline.background import BackgroundRemover
from miner.pipeline.breaker import SELF_CHECK
from miner.pipeline.generator import Call, ProgressCallback, Subject
from miner.pipeline.generators import Generators, kinds_for
from miner.pipeline.painter_load import settled_plan
from miner.pipeline.planned import Homes, as_planned, place_of_matting, store_of_painter
from miner.pipeline.prompts import clean_prompt
from miner.pipeline.residence import LOADED_LATE
from miner.pipeline.result import GenerationResult, Painting
from miner.pipeline.selfcheck import SelfCheck
from miner.pipeline.stage import CancelFlag, Timings, stage
from miner.pipeline.stages import Stages
from miner.pipeline.text_to_image import TextToImage
from miner.pipeline.work import Work
from miner.settings import Preset, RollbackSettings

__all__ = ["GenerationResult", "Painting", "Pipeline", "ProgressCallback"]

WARM_UP_PROMPT = "a red cube"

log = logging.getLogger(__name__)


class Pipeline(Stages):
    """Loaded stages and how to run them.

    Attributes:
        load_timings: seconds that loading each stage took; empty where others loaded them.
        plan: how they were loaded, where a plan said how.
    """

    load_timings: Mapping[str, float] = MappingProxyType({})
    plan: MemoryPlan | None = None

    @classmethod
    def load(
        cls,
        preset: Preset,
        weights_dir: Path,
        device: str = "auto",
        text_to_image_too: bool = True,
        rollback: RollbackSettings | None = None,
        plan: MemoryPlan | None = None,
    ) -> Pipeline:
        """All stages of a preset, from files on this machine.

        Args:
            preset: what to load.
            weights_dir: where ``miner fetch`` put the weights.
            device: ``auto``, ``cpu`` or ``cuda``.
            text_to_image_too: False leaves the first and largest stage out, for pictures only.
            rollback: which generators; TripoSR alone when not given.
            plan: precision and residency of each component; without one all are resident, in the
                preset's number types.

        Raises:
            WeightsError: a file is missing, damaged or not what it should be.
            DeviceError: the device is not there.
            OutOfMemory: the models do not fit on the device.
        """
        place = choose_device(device)
        keep_freed_memory()
        own_painter = preset.text_to_image.weights
        preset = as_planned(preset, plan)
        store = WeightStore(weights_dir, preset.name)
        cutting, painting, checking = preset.background, preset.text_to_image, preset.self_check
        kinds = kinds_for(preset, rollback)
        wanted = [cutting.weights]
        wanted += [reference for kind in kinds.values() for reference in kind.weights(preset)]
        wanted += [checking.weights] if checking.mode != "off" else []
        found = {reference: store.find(reference) for reference in wanted}  # before any loads
        if text_to_image_too:
            of_painter = store_of_painter(store, own_painter, painting.weights)
            found[painting.weights] = of_painter.find(painting.weights)
        timings: Timings = {}

        @contextmanager
        def loading(name: str, reference: str) -> Iterator[Path]:
            with stage(name, place, timings, CancelFlag()), store.reading(reference):
                yield found[reference]

        homes = Homes(place, plan)
        painter = None
        if text_to_image_too:
            with loading(text_to_image.STAGE, painting.weights) as path:
                painter = TextToImage.load(path, painting, place, plan)
        with loading(background.STAGE, cutting.weights) as path:
            on, most = place_of_matting(place, plan)
            load = partial(BackgroundRemover.load, path, cutting, on, most)
            remover = homes.of("matting", load)
        settings = rollback or RollbackSettings()
        generators = Generators.load(kinds, preset, store, place, loading, settings, plan)
        checker = None
        if checking.mode != "off":
            with loading(selfcheck.STAGE, checking.weights) as path:
                checker = homes.of("self_check", partial(SelfCheck.load, path, checking, place))
        pipeline = cls(preset, place, painter, remover, generators, checker)
        pipeline.load_timings = timings
        if plan is not None:
            pipeline.plan = settled_plan(plan, painter.settled) if painter else plan
        return pipeline

    def warm_up(self) -> GenerationResult:
        """Runs one small job, so that the first caller does not pay for lazy initialisation.

        Two things of it are done beyond that job. Matting runs a second time: onnxruntime lays its
        memory out by what the first run asked for, so only from the second on it holds what it
        will hold. And generators that stay on the device do their first small work, so that no
        kernel is built inside a job.

        Raises:
            OutOfMemory: the models that are loaded do not fit together with what they compute.
            StageError: the job failed in another way.
        """
        made = self._first_job()
        if made.cutout is not None and made.picture is not None and self.painter is not None:
            self._mat_again(made.picture)
        call = Call(self.device, {}, CancelFlag(), shortages=self.shortages)
        subject = Subject(made.prompt, made.seed, made.cutout, made.framed)
        self.generators.warm_up(subject, call, besides=made.generator)
        return made

    def _mat_again(self, picture: Image.Image) -> None:
        """Only where the network stays loaded: else its memory goes with it."""
        if self._remover.residency in LOADED_LATE:
            return
        with stage(background.STAGE, self.device, {}, CancelFlag()):
            self.remover.cut_out(picture)

    def _first_job(self) -> GenerationResult:
        count = min(7_000, self.preset.surface.count)
        if self.painter is not None:
            return self.generate(prompt=WARM_UP_PROMPT, count=count)
        side = self.preset.text_to_image.size_px
        ball = np.hypot(*np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]) < 0.7
        rgba = np.stack([np.full_like(ball, 200, np.uint8)] * 3 + [ball * np.uint8(255)], -1)
        return self.generate(image=Image.fromarray(rgba), count=count)

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
        plan = self.settled(plan or Plan())
        job = self.work(prompt, image, seed, cancel, on_progress, plan)
        job.count, job.measure = count, measure
        self.generators.rest()
        made = attempt(
            plan,
            lambda name, steps: self.make(name, steps, job),
            job.left_seconds,
            lambda error: self.can_take_over(plan.fallback, job, error),
            log_failure,
        )
        return replace(made.result, cause=made.cause)

    def settled(self, plan: Plan) -> Plan:
        """The plan with the name of the generator that it means."""
        return replace(plan, generator=plan.generator or self.generators.names[0])

    def work(
        self,
        prompt: str | None,
        image: Image.Image | Painting | None,
        seed: int,
        cancel: CancelFlag | None,
        on_progress: ProgressCallback | None,
        plan: Plan,
    ) -> Work:
        """A job before its first stage; its time begins now. Arguments as of ``generate``.

        Raises:
            BadPrompt: the prompt is not one.
        """
        assert (prompt is None) != (image is None), "either a prompt or a picture"
        timings: Timings = {}
        if isinstance(image, Painting):
            timings[text_to_image.STAGE] = image.seconds
            prompt, seed, image = image.prompt, image.seed, image.picture
        elif prompt is not None:
            prompt = clean_prompt(prompt)
        flag, left_seconds = cancel or CancelFlag(), clock_of(plan)
        return Work(prompt, seed, image, timings, flag, on_progress, left_seconds=left_seconds)

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
        if not self.knows(plan.fallback) or left_seconds() < plan.least_seconds:
            return doubted
        flag = cancel or CancelFlag()
        job = Work(
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
            other = self.make(plan.fallback, (), job)
        except (StageError, DeadlineExceeded) as error:
            log.warning("%s could not better it: %s", plan.fallback, error)
            return replace(doubted, timings=job.timings)
        best = other if other.score > doubted.score else doubted
        return replace(best, cause=SELF_CHECK, timings=job.timings)


def clock_of(plan: Plan) -> Callable[[], float]:
    """How many seconds a plan has left, from now on."""
    if plan.seconds is None:
        return lambda: math.inf
    until = time.monotonic() + plan.seconds
    return lambda: until - time.monotonic()


def log_failure(name: str, error: StageError) -> None:
    """For the log of whoever runs this: the next turn may hide that there was a failure."""
    log.warning("%s failed: %s", name, error, exc_info=error.__cause__)
