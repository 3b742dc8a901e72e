"""What the daemon and a worker process say to each other: values to messages and back.

    to the worker      configure, job, cancel
    from the worker    ready | failed, alive, progress, short_of_memory, device_free, device_taken,
                       done | error, broken

A job has a number on the channel, not its id: the same job may come a second time while the first
is still being given up. Errors travel as code and text and come out as the class of our tree that
has the code. How messages travel is the business of ``channel.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from miner.errors import ChannelError, JobFailed, MinerError, StageError, StartupError
from miner.job import Asset, JobSpec, Plan
from miner.workers.channel import Message

CONFIGURE, JOB, CANCEL = "configure", "job", "cancel"
READY, FAILED, ALIVE, PROGRESS = "ready", "failed", "alive", "progress"
SHORT_OF_MEMORY = "short_of_memory"
DEVICE_FREE, DEVICE_TAKEN = "device_free", "device_taken"
DONE, ERROR, BROKEN = "done", "error", "broken"


def job_message(number: int, spec: JobSpec, plan: Plan | None = None) -> Message:
    """A job for the worker; the picture is the payload."""
    head = {
        "type": JOB,
        "number": number,
        "prompt": spec.prompt,
        "seed": spec.seed,
        "format": spec.format,
        "plan": asdict(plan or Plan()),
    }
    return Message(head, spec.image or b"")


def read_job(message: Message) -> tuple[int, JobSpec, Plan]:
    """What ``job_message`` was given.

    Raises:
        ChannelError: not such a message.
    """
    head = message.head
    with_picture = head.get("prompt") is None
    try:
        spec = JobSpec(
            prompt=head["prompt"],
            image=message.payload if with_picture else None,
            seed=head["seed"],
            format=head["format"],
        )
        plan = dict(head["plan"])
        for steps in ("steps", "spare_steps"):
            plan[steps] = tuple(plan[steps])
        return int(head["number"]), spec, Plan(**plan)
    except (KeyError, ValueError, TypeError) as error:
        raise ChannelError(f"not a job: {error!r}") from error


def done_message(number: int, asset: Asset) -> Message:
    """A finished job; the file is the payload."""
    head = {
        "type": DONE,
        "number": number,
        "format": asset.format,
        "gaussians": asset.gaussians,
        "generator": asset.generator,
        "timings": dict(asset.timings),
        "cause": asset.cause,
        "steps": list(asset.steps),
        "score": asset.score,
        "candidates": asset.candidates,
    }
    return Message(head, asset.data)


def read_asset(message: Message) -> Asset:
    """What ``done_message`` was given.

    Raises:
        ChannelError: not such a message.
    """
    head = message.head
    try:
        return Asset(
            data=message.payload,
            format=head["format"],
            gaussians=int(head["gaussians"]),
            generator=str(head["generator"]),
            timings={str(name): float(took) for name, took in head["timings"].items()},
            cause=str(head["cause"]),
            steps=tuple(map(str, head["steps"])),
            score=None if head["score"] is None else float(head["score"]),
            candidates=int(head["candidates"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ChannelError(f"not a finished job: {error!r}") from error


def error_message(kind: str, error: MinerError, number: int | None = None) -> Message:
    """An error of our tree, as a message of the given type."""
    head: dict[str, Any] = {
        "type": kind,
        "code": error.code,
        "status": error.status,
        "message": str(error),
    }
    if isinstance(error, StageError):
        head["stage"] = error.stage
    if number is not None:
        head["number"] = number
    return Message(head)


def read_error(head: Mapping[str, Any]) -> MinerError:
    """The error of a message, as the class of our tree with that code.

    A code that nobody here knows makes a ``JobFailed`` with it.
    """
    code, text = str(head.get("code", "internal")), str(head.get("message", ""))
    kind = _BY_CODE.get(code)
    if kind is None:
        return JobFailed(text, code=code, status=int(head.get("status", 500)))
    if issubclass(kind, StageError):
        stage = str(head.get("stage", "worker"))
        return kind(stage, text.removeprefix(f"{stage}: "))
    return kind(text)


def read_startup_error(head: Mapping[str, Any]) -> StartupError:
    """As ``read_error``, for a worker that could not start: always one that ends the program."""
    error = read_error(head)
    return error if isinstance(error, StartupError) else StartupError(str(error))


def _classes(base: type[MinerError]) -> Iterator[type[MinerError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _classes(kind)


_BY_CODE = {kind.code: kind for kind in _classes(MinerError) if kind is not JobFailed}
