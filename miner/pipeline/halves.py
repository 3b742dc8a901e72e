"""A job in two halves: the device's, and the surface, which another thread makes meanwhile.

    device's thread     paint, cut out, encode | paint, cut out, encode | ...
    surface's thread                           | surface, quality       | ...

The surface is mostly work of the CPU, with questions to TripoSR's decoder in between. So both
threads use the device, and a job is divided only where that is safe: TripoSR stays on the device,
the plan has the memory for a surface beside its peak, nothing after the surface needs the device,
and memory has not run out yet.
"""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from miner.errors import StageError
from miner.gpu.device import Device
from miner.gpu.plan import MemoryPlan
from miner.gpu.reasons import gib
from miner.job import Plan
from miner.pipeline.attempts import Failed, Made, attempt
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.generator import Call, Subject
from miner.pipeline.pipeline import Pipeline, log_failure
from miner.pipeline.result import GenerationResult
from miner.pipeline.shortage import let_go
from miner.pipeline.unfinished import Unfinished
from miner.pipeline.work import Work
from miner.settings.daemon import Overlap

SURFACE_BYTES: Final = 400_000_000
"""On the device while a surface is made of a full-size TripoSR, beside the weights: 341 MB of live
tensors at once, counted on a CPU with CUDA's chunks, and what cuBLAS takes for a second thread."""

FIRST_IN_LINE: Final = -1
"""CUDA's priority of a stream whose short kernels go before those that are queued elsewhere."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Codes:
    """What the device's half leaves: scene codes, and what is needed to go on with them."""

    subject: Subject
    call: Call
    codes: Tensor
    generator: ByTripoSR


class Halves:
    """Divides the jobs of a loaded pipeline, where they can be.

    ``begin`` is called by the device's thread, and so is ``again`` of what it returns; ``finish``
    by one other thread.

    Attributes:
        reason: why no job is divided, in one line; empty where they can be.
    """

    def __init__(self, pipeline: Pipeline, wanted: Overlap = "auto") -> None:
        self._pipeline = pipeline
        self._stream = _Stream(pipeline.device)
        self._open: set[_Codes] = set()
        self._lock = threading.Lock()
        self.reason = _reason_against(pipeline, pipeline.plan, wanted)
        if self.reason:
            log.info("no job begins while a surface is made: %s", self.reason)
        else:
            log.info("the next job begins while a surface is made")

    @property
    def possible(self) -> bool:
        """Whether a job that begins now may be divided.

        Not once memory ran out in this process: a job alone is then worth more than two that take
        it from each other.
        """
        if not self.reason and self._pipeline.shortages.ever:
            self.reason = "memory ran out"
            log.warning("no job begins while a surface is made, from now on: memory ran out")
        return not self.reason

    @property
    def open(self) -> int:
        """How many jobs have codes on the device and no surface yet; from any thread."""
        with self._lock:
            return len(self._open)

    def begin(self, job: Work, plan: Plan) -> GenerationResult | Unfinished[GenerationResult]:
        """The device's half of a job, or all of it where it cannot be divided.

        Args:
            job: of the pipeline's ``work``.
            plan: which generator, and what if it fails.

        Raises:
            StageError, JobCancelled, DeadlineExceeded: as ``Pipeline.generate``.
        """
        made = self._attempt(job, plan, None)
        if isinstance(made.result, GenerationResult):
            return replace(made.result, cause=made.cause)
        return Unfinished(partial(self._finish, made, job), partial(self._again, made, job, plan))

    def _attempt(self, job: Work, plan: Plan, failed: Failed | None) -> Made[Any]:
        pipeline = self._pipeline
        return attempt(
            plan,
            partial(self._make if failed is None else pipeline.make, job=job),
            job.left_seconds,
            lambda error: pipeline.can_take_over(plan.fallback, job, error),
            log_failure,
            failed,
        )

    def _make(self, name: str, steps: tuple[str, ...], job: Work) -> GenerationResult | _Codes:
        """What the device has to do for a generator's result; all where that is not TripoSR."""
        pipeline = self._pipeline
        if not self.possible or not pipeline.generators.stays(name):
            return pipeline.make(name, steps, job)
        with pipeline.memory_freed():
            subject, call = pipeline.subject(name, steps, job), pipeline.call(steps, job)
            with pipeline.at_work(name) as generator:
                if isinstance(generator, ByTripoSR):
                    codes = _Codes(subject, call, generator.encode(subject, call), generator)
                    with self._lock:
                        self._open.add(codes)
                    return codes
        return pipeline.make(name, steps, job)

    def _finish(self, made: Made[_Codes], job: Work) -> GenerationResult:
        """The surface and the validity gate, on the thread for that."""
        pipeline, half = self._pipeline, made.result
        try:
            with pipeline.memory_freed(), self._stream.entered():
                lifted = half.generator.place(half.codes, half.subject, half.call)
                verdict = pipeline.quality_of(lifted, job)
            result = pipeline.result(made.generator, made.steps, job, lifted, verdict)
            return replace(result, cause=made.cause)
        except StageError as error:
            let_go(error)  # the next attempt needs what its frames hold of the device
            raise
        finally:
            with self._lock:
                self._open.discard(half)

    def _again(
        self, made: Made[_Codes], job: Work, plan: Plan, error: Exception
    ) -> GenerationResult:
        """What a job comes to whose surface failed, on the device's thread and undivided."""
        if not isinstance(error, StageError):
            raise error
        then: Made[GenerationResult] = self._attempt(job, plan, Failed(made, error))
        return replace(then.result, cause=then.cause)


def _reason_against(pipeline: Pipeline, plan: MemoryPlan | None, wanted: Overlap) -> str:
    """Why the jobs of a pipeline cannot be divided; empty where they can."""
    if wanted == "off":
        return "worker.overlap is off"
    if wanted == "auto" and not pipeline.device.is_cuda:
        return "on a CPU both would share the cores, and no more jobs would be done"
    if pipeline.checks_itself:
        return "the self-check needs the device after it"
    if not any(map(pipeline.generators.stays, pipeline.generators.names)):
        return "no generator stays on the device"
    return _reason_of_memory(plan) if plan is not None and plan.card.is_cuda else ""


def _reason_of_memory(plan: MemoryPlan) -> str:
    together = plan.peak_bytes + SURFACE_BYTES
    if together <= plan.limit_bytes:
        return ""
    return f"with the plan's peak it would take {gib(together)} of {gib(plan.limit_bytes)}"


class _Stream:
    """A CUDA stream of the surface's thread; nothing on the CPU.

    On the stream that all threads share, each number read back would wait for all that painting has
    queued. One for good: torch's cached memory belongs to the stream it was taken on.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None

    def entered(self) -> AbstractContextManager[Any]:
        """Queues what the block does there."""
        if not self._device.is_cuda:
            return nullcontext()
        if self._stream is None:
            make: Any = torch.cuda.Stream  # without types
            self._stream = make(self._device.torch_device, priority=FIRST_IN_LINE)
        return torch.cuda.stream(self._stream)
