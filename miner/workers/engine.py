"""What a worker process does its jobs with: the models, behind a few methods.

A job has up to three parts. ``generate`` uses the device and is called by one thread only; what it
may leave ``Unfinished`` another one does; ``encode`` uses the CPU and is called by a third, while
the next job is on the device already. Importing this file loads none of the models' libraries:
that takes seconds, and is part of ``load``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import ValidationError

from miner import encoder
from miner.errors import ConfigError, OutOfMemory
from miner.job import Asset, Format, JobSpec, Plan
from miner.pipeline.cancel import CancelFlag
from miner.pipeline.images import load_image
from miner.pipeline.unfinished import Unfinished
from miner.settings import Preset, RollbackSettings, Section
from miner.settings.daemon import Overlap

if TYPE_CHECKING:
    from PIL.Image import Image

    from miner.gpu.plan import MemoryPlan
    from miner.pipeline.halves import Halves
    from miner.pipeline.pipeline import GenerationResult, Pipeline
    from miner.pipeline.plan_trials import PlanTrials

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, its steps done and its steps in all."""

Raw = TypeVar("Raw")
"""What ``generate`` makes and ``encode`` takes."""

ENCODE_STAGE = "encode"
IMPORT_STAGE = "import"


class Engine(Protocol[Raw]):
    """Does jobs, one at a time on the device.

    Attributes:
        generators: names of what can make the Gaussians, as in ``Asset``; the first is the one
            that a plan without a name means. Complete after ``load``.
        device: name of the device, for a person; empty before ``load``.
        plan: which part lies where, as JSON values of a ``MemoryPlan``; empty where none was made.
    """

    generators: Sequence[str]
    device: str
    plan: Mapping[str, Any]

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        """Makes everything resident; seconds by stage.

        Args:
            configuration: preset, device, weights and rollback, as JSON values.

        Raises:
            StartupError: something the operator must mend.
        """

    def warm_up(self) -> float:
        """Does a first small job, both halves; the seconds it took."""

    def generate(
        self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan
    ) -> Raw | Unfinished[Raw]:
        """The device's part of a job.

        Raises:
            JobError, RequestError: why there is no result.
        """

    def encode(self, raw: Raw, format: Format) -> Asset:
        """The file of a job, made by the CPU."""

    def memory(self) -> Mapping[str, int]:
        """Readings of the device in bytes, named as in ``WorkerHealth``; from any thread."""

    def settled(self) -> tuple[str, int] | None:
        """The models on the device that do not stay there, and bytes of live tensors with them.

        Asked after a job, on the device's thread; None where nothing is measured.
        """

    def shortages(self) -> Sequence[tuple[str, bool]]:
        """Stages in which memory ran out since the last time, and whether they went with less.

        From any thread.
        """

    def usable(self) -> bool:
        """Whether it can go on after a failure; asked on the device's thread."""


class Configuration(Section):
    """The argument of ``PipelineEngine.load``; ``overlap`` as of ``WorkerSettings``."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    weights: Path
    preset: Preset
    rollback: RollbackSettings = RollbackSettings()
    overlap: Overlap = "auto"


class PipelineEngine:
    """The pipeline of a preset."""

    generators: Sequence[str] = ()
    device = ""
    plan: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._trials: PlanTrials | None = None
        self._load_by: Callable[[MemoryPlan], Pipeline]
        self._halves: Halves | None = None  # from the first job on
        self._overlap: Overlap = "auto"

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        """Imports the libraries and loads the stages.

        Raises:
            ConfigError: the configuration is not one.
            WeightsError, DeviceError: as ``Pipeline.load``.
        """
        try:
            wanted = Configuration.model_validate(configuration)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"the worker's configuration: {key}: {first['msg']}") from error
        self._overlap = wanted.overlap
        start = time.perf_counter()
        from miner.pipeline.pipeline import Pipeline  # noqa: PLC0415 - seconds; counted as loading
        from miner.pipeline.plan_trials import PlanTrials  # noqa: PLC0415 - likewise

        imported = time.perf_counter() - start

        def load_by(plan: MemoryPlan) -> Pipeline:
            preset, weights, device = wanted.preset, wanted.weights, wanted.device
            return Pipeline.load(preset, weights, device, rollback=wanted.rollback, plan=plan)

        self._load_by = load_by
        self._trials = PlanTrials.here(wanted.preset, wanted.device, wanted.rollback)
        pipeline = self._trials.run(load_by)
        self._keep(pipeline)
        return {IMPORT_STAGE: imported, **pipeline.load_timings}

    def _keep(self, pipeline: Pipeline) -> None:
        assert self._trials is not None
        self._pipeline = pipeline
        self.plan = (pipeline.plan or self._trials.plan).as_json()
        self.generators = pipeline.generators.names
        self.device = pipeline.device.name

    def warm_up(self) -> float:
        """Does the pipeline's first job, and encodes what came of it.

        Where memory runs out under it, or it went only with less than usual, the models are loaded
        anew by the next smaller plan; the seconds are those of the first job that went well.

        Raises:
            DeviceError: it did not fit by any plan.
            JobError: it failed in another way.
        """
        assert self._trials is not None, "load() comes first"
        return self._trials.run(self._first_job)

    def _first_job(self, plan: MemoryPlan) -> float:
        """Its seconds; nothing is loaded any more where it fails."""
        if self._pipeline is None:
            self._keep(self._load_by(plan))
        start = time.perf_counter()
        try:
            self.encode(self._loaded.warm_up(), "spz")
            self._look_for_shortages()
        except Exception:
            self._pipeline = None
            raise
        return time.perf_counter() - start

    def _look_for_shortages(self) -> None:
        """Every job would go with less, such as smaller pictures, if the first one did.

        Under the last plan that is better than nothing; it is told after the next job.

        Raises:
            OutOfMemory: there is a plan to try yet.
        """
        assert self._trials is not None
        kept = self._loaded.shortages
        found = kept.take()
        if found and not self._trials.is_last:
            raise OutOfMemory(found[0].stage, "the first job went only with less than usual")
        for one in found:
            kept.add(one.stage, one.recovered)

    def generate(
        self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan
    ) -> GenerationResult | Unfinished[GenerationResult]:
        """Gaussians for a prompt or picture, or what is left to do for them.

        With the self-check on and free time for the job, the best of several seeds: another seed
        changes what is painted. For a picture it would change next to nothing. What is doubted even
        so goes to the plan's fallback.

        Raises:
            BadImage: the picture cannot be read.
            BadPrompt, StageError, JobCancelled: as ``Pipeline.generate``.
        """
        picture = None if spec.image is None else load_image(spec.image)
        if self._overlapping.possible:
            pipeline, plan = self._loaded, self._loaded.settled(plan)
            job = pipeline.work(spec.prompt, picture, spec.seed, cancel, progress, plan)
            pipeline.generators.rest()
            return self._overlapping.begin(job, plan)
        return self._undivided(spec, picture, progress, cancel, plan)

    def _undivided(
        self,
        spec: JobSpec,
        picture: Image | None,
        progress: Progress,
        cancel: CancelFlag,
        plan: Plan,
    ) -> GenerationResult:
        """All of a job but its file, with the self-check where there is one."""
        began = time.monotonic()

        def rest_of_plan() -> Plan:
            if plan.seconds is None:
                return plan
            return replace(plan, seconds=max(0.0, plan.seconds - (time.monotonic() - began)))

        def make(seed: int) -> GenerationResult:
            return self._loaded.generate(
                prompt=spec.prompt,
                image=picture,
                seed=seed,
                cancel=cancel,
                on_progress=progress,
                plan=rest_of_plan(),
            )

        check = self._loaded.preset.self_check
        free_seconds = check.free_seconds if plan.free_seconds is None else plan.free_seconds
        if check.mode != "on" or picture is not None or free_seconds <= 0:
            made = make(spec.seed)
        else:
            from miner.pipeline.candidates import best_candidate  # noqa: PLC0415 - see ``load``

            made = best_candidate(make, spec.seed, check, free_seconds)
        if check.mode == "on" and made.score < check.threshold and self._may_better(made, plan):
            return self._loaded.better(made, rest_of_plan(), cancel, progress)
        return made

    def _may_better(self, made: GenerationResult, plan: Plan) -> bool:
        """Only what the first generator made without trouble; the fallback has no other to ask."""
        return bool(plan.fallback) and not made.cause and made.generator == self.generators[0]

    def encode(self, raw: GenerationResult, format: Format) -> Asset:
        """The file of a result."""
        start = time.perf_counter()
        data = encoder.encode(raw.gaussians, format)
        took = time.perf_counter() - start
        return Asset(
            data=data,
            format=format,
            gaussians=len(raw.gaussians),
            generator=raw.generator,
            timings={**raw.timings, ENCODE_STAGE: took},
            score=None if raw.check is None else raw.check.score,
            candidates=raw.candidates,
            cause=raw.cause,
            steps=raw.steps,
        )

    def memory(self) -> Mapping[str, int]:
        """Nothing on the CPU: the process's own memory is read by others."""
        pipeline = self._pipeline  # once: another thread may let go of it while it starts
        read = {} if pipeline is None else pipeline.device.memory()
        if read and self.plan:
            read |= {
                "gpu_estimated": self.plan["peak_bytes"],
                "gpu_planned": self.plan["limit_bytes"],
            }
        return read

    def settled(self) -> tuple[str, int] | None:
        """None on the CPU."""
        device = self._loaded.device
        if not device.is_cuda:
            return None
        visitors = self._loaded.visitors()
        if self._halves is not None and self._halves.open:
            visitors.append("surface")  # its tensors are no leak
        return ",".join(visitors), device.allocated_bytes()

    def shortages(self) -> Sequence[tuple[str, bool]]:
        """Of the pipeline's stages."""
        taken = [] if self._pipeline is None else self._pipeline.shortages.take()
        return [(shortage.stage, shortage.recovered) for shortage in taken]

    def usable(self) -> bool:
        """False where the device answers everything with an error since the one that broke it."""
        try:
            self._loaded.device.synchronize()
        except Exception:  # whatever the driver raises, the answer is no
            return False
        return True

    @property
    def _overlapping(self) -> Halves:
        if self._halves is None:
            from miner.pipeline.halves import Halves  # noqa: PLC0415 - see ``load``

            self._halves = Halves(self._loaded, self._overlap)
        return self._halves

    @property
    def _loaded(self) -> Pipeline:
        assert self._pipeline is not None, "load() comes first"
        return self._pipeline
