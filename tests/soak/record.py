"""What a soak remembers: requests, samples and faults, in seconds since its start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["generate", "task"]
Result = Literal["done", "refused", "failed", "unreachable", "corrupt", "lost"]

COUNTED: tuple[Result, ...] = ("done", "refused", "failed", "unreachable", "corrupt", "lost")


@dataclass(frozen=True)
class Request:
    """One request of a client, from when it was due to its end.

    Attributes:
        kind: asked and waited on one connection, or pushed and polled.
        spoiled: whether it went through the proxy.
        promised: a task that the daemon had taken.
        at: when it was due.
        seconds: from then to its end.
        result: "done" with a splat that decodes; "refused" before anything was accepted; "failed"
            with an answer that says so; "unreachable" without an answer; "corrupt" with something
            that is no splat; "lost" where a promised task had no outcome.
        note: what the daemon said, where it is not done.
    """

    kind: Kind
    spoiled: bool
    promised: bool
    at: float
    seconds: float
    result: Result
    generator: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment; numbers are None while it does not answer.

    Attributes:
        ready: the daemon takes requests.
        worker_ready: the worker has loaded its models.
    """

    at: float
    life: int
    ready: bool
    generator: str | None
    depth: int | None
    in_flight: int | None
    daemon_bytes: int | None
    worker_bytes: int | None
    worker_pid: int | None
    worker_ready: bool


@dataclass
class Fault:
    """One fault, and how the daemon got over it.

    Attributes:
        began, lifted: when it was there.
        ready_seconds: from its end until the daemon was ready and its first generator in use;
            None where that never came.
        served_seconds: from its end until a request that began later was done.
    """

    name: str
    began: float
    lifted: float = 0.0
    ready_seconds: float | None = None
    served_seconds: float | None = None


@dataclass
class Record:
    """All of a run.

    Attributes:
        seconds: how long requests were begun.
        settled: when the last of them had ended.
        unfinished: jobs of the journal without an outcome at the end.
        exit_status: of the daemon, told to stop at the end.
        broke: why the run ended before its time; empty where it did not.
        tracebacks: in the daemon's log.
    """

    rate: float
    seconds: float = 0.0
    settled: float = 0.0
    requests: list[Request] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unfinished: int = 0
    journal: dict[str, int] = field(default_factory=dict)
    exit_status: int | None = None
    broke: str = ""
    tracebacks: int = 0

    def counts(self) -> Counter[Result]:
        """Requests by what became of them."""
        return Counter(request.result for request in self.requests)

    def during(self, at: float) -> Fault | None:
        """The fault that was there, or was not yet overcome, at a moment."""
        for fault in self.faults:
            end = fault.lifted + (fault.served_seconds or fault.ready_seconds or 0.0)
            if fault.began <= at <= max(end, fault.lifted):
                return fault
        return None
