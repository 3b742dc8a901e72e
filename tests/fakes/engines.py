"""Engines for worker processes in tests: each does one thing well or badly; none imports torch.

The folder that the configuration names as ``weights`` is their scratch: what has to be known
outside the process, or in its next life, is a file there.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from miner.errors import BadImage, OutOfMemory, StageError, WeightsError
from miner.job import Asset, Format, JobSpec, Plan
from miner.pipeline.attempts import attempt
from miner.pipeline.cancel import CancelFlag
from miner.pipeline.unfinished import Unfinished

Progress = Callable[[str, int, int], None]
PATIENCE_SECONDS = 120.0


class Quick:
    """Answers at once with the prompt as the asset."""

    generators: Sequence[str] = ("fake",)
    device = "fake device"
    plan: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self.folder = Path()
        self.made = 0

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        self.folder = Path(configuration["weights"])
        return {"model": 0.0}

    def warm_up(self) -> float:
        return 0.25

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.made += 1
        progress("paint", 1, 2)
        progress("paint", 2, 2)
        return spec.image if spec.prompt is None else f"{spec.prompt} {spec.seed}".encode()

    def encode(self, raw: bytes, format: Format) -> Asset:
        return Asset(raw, format, len(raw), self.generators[0], {"paint": 0.5, "encode": 0.125})

    def memory(self) -> Mapping[str, int]:
        return {"gpu_used": 1000}

    def settled(self) -> tuple[str, int] | None:
        return None

    def shortages(self) -> Sequence[tuple[str, bool]]:
        return ()

    def usable(self) -> bool:
        return True

    def first_time(self, name: str) -> bool:
        """True once, over all lives of the worker."""
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Holding(Quick):
    """Holds what it was told to, and names what made a job and the process that did.

    While there is a file "broken NAME" the generator of that name fails, or dies where the file
    says so; while there is one named "held NAME" jobs with it wait.
    """

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        rollback = configuration["rollback"]
        self.generators = tuple(filter(None, (rollback["primary"], rollback["generator"])))
        return super().load(configuration)

    def warm_up(self) -> float:
        return {"triposr": 0.25, "dreamgaussian": 8.0}[self.generators[0]]

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.made = attempt(
            replace(plan, generator=plan.generator or self.generators[0]),
            lambda name, _: self._make(name, cancel),
            lambda: math.inf if plan.seconds is None else plan.seconds,
            lambda _: plan.fallback in self.generators,
            lambda *_: None,
        )
        return f"{self.made.generator} {os.getpid()}".encode()

    def _make(self, name: str, cancel: CancelFlag) -> None:
        assert name in self.generators, f"{name} is not here"
        (self.folder / f"begun {name}").touch()
        while (self.folder / f"held {name}").exists():
            cancel.check()
            time.sleep(0.005)
        broken = self.folder / f"broken {name}"
        if broken.exists():
            if broken.read_text() == "dead":
                os._exit(1)
            raise StageError("surface", "broken by the test")

    def encode(self, raw: bytes, format: Format) -> Asset:
        return Asset(raw, format, 1, self.made.generator, {}, cause=self.made.cause)


class Checked(Quick):
    """Its score is a hundredth of the free seconds it was told of; None of them, no score."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        return b"none" if plan.free_seconds is None else f"{plan.free_seconds}".encode()

    def encode(self, raw: bytes, format: Format) -> Asset:
        score = None if raw == b"none" else float(raw) / 100
        return Asset(raw, format, 1, self.generators[0], {}, score=score, candidates=3)


class Sleeping(Quick):
    """Works until it is cancelled, or the file "go" is there; "begun" says that it is at it."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        (self.folder / "begun").touch()
        progress("paint", 0, 1)
        until = time.monotonic() + PATIENCE_SECONDS
        while not (self.folder / "go").exists():
            cancel.check()
            assert time.monotonic() < until, "nobody said go"
            time.sleep(0.005)
        return super().generate(spec, progress, cancel, plan)


class Crashing(Quick):
    """Dies of a fault in native code under its first job, without a word to anybody."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        if self.first_time("crashed"):
            ctypes.string_at(0)
        return super().generate(spec, progress, cancel, plan)


class HoldingTheLock(Quick):
    """Hangs under its first job inside native code that does not give the interpreter back."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        if self.first_time("hung"):
            ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the GIL
        return super().generate(spec, progress, cancel, plan)


class Stuck(Quick):
    """Waits for ever under its first job, and gives signs of life all the while."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        if self.first_time("stuck"):
            threading.Event().wait()
        return super().generate(spec, progress, cancel, plan)


class Leaking(Quick):
    """Keeps 24 MB of every job."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[bytes] = []

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.kept.append(os.urandom(24_000_000))
        return super().generate(spec, progress, cancel, plan) + f" pid {os.getpid()}".encode()


class Raising(Quick):
    """Raises what the prompt names."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        errors: dict[str | None, Exception] = {
            "out of memory": OutOfMemory("reconstruct", "the device ran out of memory"),
            "host memory": MemoryError(),
            "library's memory": RuntimeError("CUDA driver error: out of memory"),
            "bad image": BadImage("not a picture"),
            "foreign": ValueError("something\nprivate"),
        }
        if spec.prompt in errors:
            raise errors[spec.prompt]
        return super().generate(spec, progress, cancel, plan)

    def encode(self, raw: bytes, format: Format) -> Asset:
        if raw.startswith(b"in encode"):
            raise ValueError("cannot be written")
        return super().encode(raw, format)


class BrokenDevice(Quick):
    """Its device answers nothing after its first job, as CUDA after an illegal access."""

    broken = False

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.broken = self.first_time("broken")
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().generate(spec, progress, cancel, plan)

    def usable(self) -> bool:
        return not self.broken


class Overlapping(Quick):
    """Encodes no job before the next one is on the device; the last one is named "last"."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.begun.release()
        return super().generate(spec, progress, cancel, plan)

    def encode(self, raw: bytes, format: Format) -> Asset:
        assert self.begun.acquire(timeout=PATIENCE_SECONDS)  # of this job itself
        if not raw.startswith(b"last"):
            assert self.begun.acquire(timeout=PATIENCE_SECONDS), "the next job did not begin"
            self.begun.release()
        return super().encode(raw, format)


class Unloadable(Quick):
    """Has no weights."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        raise WeightsError("flux: this weight file is missing; run: miner fetch")


class UnloadableLater(Quick):
    """Loads in its first life, is killed by its first job, and finds no weights once after that."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        seconds = super().load(configuration)
        if not self.first_time("life 1") and self.first_time("life 2"):
            raise WeightsError("flux: this weight file is missing; run: miner fetch")
        return seconds

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        if self.first_time("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(spec, progress, cancel, plan)


class ColdFailure(Quick):
    """Loads, and cannot do a first job."""

    def warm_up(self) -> float:
        raise ValueError("no kernel image is available")


class DyingAtStart(Quick):
    """Is gone before it is ready, every time."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        print("last words")
        os._exit(3)


class SlowToLoad(Quick):
    """Is never ready."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        threading.Event().wait()
        raise AssertionError


class Telling(Quick):
    """Tells what it was started with."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        self.told = f"{configuration['device']} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
        return super().load(configuration)

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        return self.told.encode()


class SecondUnloadable(Quick):
    """Loads in one process, and finds no weights in any other."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        seconds = super().load(configuration)
        if not self.first_time("loaded"):
            raise WeightsError("flux: this weight file is missing; run: miner fetch")
        return seconds


class ShortOfMemory(Quick):
    """Runs out in one stage and goes on, and in another and does not, for the prompts of that."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.short = [("text_to_image", True)]
        if spec.prompt == "too much":
            self.short.append(("surface", False))
            raise OutOfMemory("surface", "the device ran out of memory")
        return super().generate(spec, progress, cancel, plan)

    def shortages(self) -> Sequence[tuple[str, bool]]:
        return self.short


class Planned(Quick):
    """Has a plan, with the precision of its preset; cannot load in nf4 nor warm up in int8."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        seconds = super().load(configuration)
        self.mode = configuration["preset"]["memory"]["precision"]
        if self.mode == "nf4":
            raise WeightsError("nf4: bitsandbytes is not there")
        stage = {"component": "vae", "model": "x", "precision": self.mode, "residency": "host"}
        stage |= {"weight_bytes": 1, "peak_bytes": 2, "seconds": None, "reason": "a test"}
        card = {"name": "fake", "total_bytes": 9, "free_bytes": 8, "capability": [8, 9]}
        plan = {"card": card | {"host_bytes": 7}, "stages": [stage], "painter": "x"}
        self.plan = {**plan, "peak_bytes": 2, "limit_bytes": 8, "warnings": []}
        return seconds

    def warm_up(self) -> float:
        if self.mode == "int8":
            raise ValueError("no kernel for int8")
        return super().warm_up()

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        return self.mode.encode()


class LeakingSlowly(Quick):
    """Keeps a megabyte of every job, as a cache without a bound does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[bytes] = []

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.kept.append(os.urandom(1 << 20))
        return super().generate(spec, progress, cancel, plan)


class Churning(Quick):
    """Takes as much for every job, and keeps nothing."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        assert os.urandom(1 << 20)
        return super().generate(spec, progress, cancel, plan)


class LeakingOnDevice(Quick):
    """Every job leaves a megabyte on its device."""

    def settled(self) -> tuple[str, int] | None:
        return "", (8 << 30) + (self.made << 20)


class VisitedDevice(Quick):
    """Now and then a large model is still on its device after a job; nothing else stays."""

    def settled(self) -> tuple[str, int] | None:
        return ("dreamgaussian", 11 << 30) if self.made % 7 == 0 else ("", 8 << 30)


class OneSlow(Quick):
    """The first that ever loads takes ten times what the others take."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        seconds = super().load(configuration)
        self.pause = 0.5 if self.first_time("slow") else 0.05
        return seconds

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        time.sleep(self.pause)
        return super().generate(spec, progress, cancel, plan)


class Dividing(Quick):
    """Leaves the second half of each job to another thread, and answers with what happened so far.

    Events are "begun", "surface", "finished" and "again", the prompt, and the thread's name. While
    there is a file "held" no surface goes on, and while there is one "held again" nothing that has
    taken over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def generate(
        self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan
    ) -> Unfinished[bytes]:
        self._note("begun", spec)
        return Unfinished(
            lambda: self._finish(spec, progress, cancel), lambda error: self._again(spec, error)
        )

    def _finish(self, spec: JobSpec, progress: Progress, cancel: CancelFlag) -> bytes:
        cancel.check()
        self._note("surface", spec)
        progress("surface", 0, 1)
        self._wait("held")
        if str(spec.prompt).startswith("failing"):
            raise StageError("surface", "broken by the test")
        if spec.prompt == "breaking":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self._note("finished", spec)
        return self._told()

    def _again(self, spec: JobSpec, error: Exception) -> bytes:
        self._note("again", spec)
        self._wait("held again")
        if spec.prompt != "failing and saved":
            raise error
        return self._told()

    def _wait(self, file: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while (self.folder / file).exists():
            assert time.monotonic() < until, "nobody let it go"
            time.sleep(0.005)

    def _note(self, what: str, spec: JobSpec) -> None:
        (self.folder / f"{what} {spec.prompt}").touch()
        self.events.append(f"{what} {spec.prompt} {threading.current_thread().name}")

    def _told(self) -> bytes:
        return "\n".join(self.events).encode()

    def shortages(self) -> Sequence[tuple[str, bool]]:
        return [("surface", True)] if self.events[-1].startswith("finished short") else ()

    def usable(self) -> bool:
        return not (self.folder / "again breaking").exists()
