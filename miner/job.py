"""The values that travel from the intakes through the queue to a worker, and back.

Plain and immutable; nothing here waits, computes or knows a protocol.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from miner.errors import JobFailed, MinerError

Format = Literal["ply", "spz"]

MAX_SEED = 2**63 - 1

MAIN = "main"
"""The identity of a daemon that names none, and of the operator's own jobs."""


@dataclass(frozen=True)
class JobSpec:
    """What is to be made. Equal specs give equal results, and may share one generation.

    Attributes:
        prompt: cleaned text, or None where a picture is given.
        image: the bytes of a PNG, JPEG or WebP file, checked to be one, or None.
        seed: 0 to ``MAX_SEED``.
        format: of the asset; "spz" is the subnet's.
    """

    prompt: str | None = None
    image: bytes | None = field(default=None, repr=False)
    seed: int = 0
    format: Format = "ply"

    def __post_init__(self) -> None:
        assert (self.prompt is None) != (self.image is None), "either a prompt or a picture"

    @cached_property
    def key(self) -> str:
        """Hex digest that is equal for equal specs, also in another process."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.prompt or "", str(self.seed), self.format):
            digest.update(f"{len(part)}:{part}".encode())
        digest.update(self.image or b"")
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """How a job is to be made; decided when it begins, and no part of what is made.

    Attributes:
        generator: by name; empty is whatever the worker has first.
        fallback: the generator that takes over when that one fails; empty for none.
        seconds: from the handing over until the outcome must exist; None has no limit.
        least_seconds: with less than this left the fallback is not begun.
        steps: smaller steps in force, as in the settings of the rollback.
        spare_steps: steps this job may take by itself, in order, when memory runs out.
        free_seconds: from the handing over on, that may go into better candidates; None leaves it
            to the preset.
    """

    generator: str = ""
    fallback: str = ""
    seconds: float | None = None
    least_seconds: float = 0.0
    steps: tuple[str, ...] = ()
    spare_steps: tuple[str, ...] = ()
    free_seconds: float | None = None


@dataclass(frozen=True)
class Job:
    """One accepted or offered piece of work.

    Attributes:
        id: unique for ever; see ``new_job_id``.
        spec: what is to be made.
        requester: the validator's hotkey (ss58), or "local" for the HTTP API.
        intake: the door it came through: "generate3d", "tgtask", "pull", "gateway", "api" or
            "benchmark".
        identity: the one of our hotkeys that it was asked of, by its name in the settings.
        deadline: ``time.monotonic()`` seconds by which the outcome must exist.
        priority: the requester's stake; more goes first.
        promised: True where the caller was told that the work will be done and asks for it later;
            False where it waits on a connection, and leaving it withdraws the job.
        task_id: the validator's own name for it, where it has one.
        attempts: how often it was begun before, in this or an earlier life of the daemon.
        plan: how it is to be made; whoever hands it to the workers decides.
        free_seconds: from when it is accepted, that cost whoever asked nothing: the self-check may
            spend them on better candidates. 0 keeps to the seed; None leaves it to the preset. Not
            in the journal: what is begun anew after a restart has lost its time.
    """

    id: str
    spec: JobSpec
    requester: str
    intake: str
    deadline: float
    priority: float = 0.0
    promised: bool = False
    task_id: str | None = None
    attempts: int = 0
    plan: Plan = Plan()
    free_seconds: float | None = None
    identity: str = MAIN


@dataclass(frozen=True)
class Asset:
    """A finished splat, encoded.

    Attributes:
        data: the bytes of the file.
        gaussians: how many it holds.
        generator: what made it, as in "triposr".
        timings: seconds by stage, in order, "encode" last.
        cause: why not the planned generator made it, or why only with steps of its own, as in
            "out_of_memory"; empty where all went as planned.
        steps: smaller steps that were in force when it was made.
        score: what the self-check expects the subnet's score to be, 0 to 1; None without one.
        candidates: how many were made for it, this one included.
    """

    data: bytes = field(repr=False)
    format: Format
    gaussians: int
    generator: str
    timings: Mapping[str, float]
    cause: str = ""
    steps: tuple[str, ...] = ()
    score: float | None = None
    candidates: int = 1


@dataclass(frozen=True)
class Failure:
    """Why there is no asset.

    Attributes:
        code: stable, as in ``errors``: on the wire, in the journal and as a metric label.
        status: the HTTP status that says it best.
        message: one line for a person.
    """

    code: str
    status: int
    message: str

    @classmethod
    def of(cls, error: MinerError) -> Failure:
        """What the error says to the outside."""
        return cls(error.code, error.status, str(error))

    def raise_(self) -> None:
        """Raises the failure as an error of our tree.

        Raises:
            JobFailed: always, with this code, status and message.
        """
        raise JobFailed(self.message, code=self.code, status=self.status)


Outcome = Asset | Failure
"""Every accepted job gets exactly one."""


def own_seed(miner: str, work: str) -> int:
    """A seed for work that names none: the same when it comes again, another than other miners'.

    Equal results of two miners count for neither.

    Args:
        miner: the hotkey (ss58) that it is done for.
        work: what names it.
    """
    digest = hashlib.blake2b(f"{miner}:{work}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & MAX_SEED


def new_job_id() -> str:
    """32 hex digits; also what the API and the logs call the job."""
    return secrets.token_hex(16)
