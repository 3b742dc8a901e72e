"""The messages: the subnet's push pair and our one-shot request. Their names are URL paths.

Only shapes and types; what a prompt or picture must be like, the intake says.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictInt

from miner.job import MAX_SEED, Format
from miner.network.synapse import Synapse

TaskStatus = Literal["IN QUEUE", "ERROR_QUEUE_FULL"]
"""What became of an offered task."""

PollStatus = Literal["NOT FOUND", "FORBIDDEN", "IN QUEUE", "IN PROGRESS", "DONE", "FAILED"]
"""How an offered task stands; FORBIDDEN is said to all but the hotkey that offered it."""

Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]


class Generate3D(Synapse):
    """One prompt or one picture in, one splat out, on one connection.

    The signature covers what is to be made: prompt, picture and seed.

    Attributes:
        prompt: text, or None where a picture is given.
        image: base64 of a PNG, JPEG or WebP file, or None.
        seed: equal requests with equal seeds give equal splats.
        format: of ``results``.
        results: answer: base64 of the file.
        generator: answer: what made it, as in "triposr".
        gaussians: answer: how many the splat holds.
        timings: answer: seconds by stage.
        score: answer: what our own check expects the subnet's score to be; None without a check.
    """

    required_hash_fields: ClassVar[tuple[str, ...]] = ("prompt", "image", "seed")

    prompt: str | None = None
    image: str | None = None
    seed: Seed = 0
    format: Format = "spz"

    results: str | None = None
    generator: str | None = None
    gaussians: int | None = None
    timings: dict[str, float] | None = None
    score: float | None = None


class TGTask(Synapse):
    """A validator offers a task; the reply says whether it waits. No field is hashed.

    Attributes:
        prompt: text.
        task_id: the validator's name for it; the first hotkey to use it owns it.
        status: answer.
    """

    prompt: str
    task_id: str
    status: TaskStatus | None = None


class TGPoll(Synapse):
    """The validator asks for a task it offered. No field is hashed.

    Attributes:
        task_id: as offered.
        status: answer.
        results: answer: base64 of the file once DONE.
    """

    task_id: str
    status: PollStatus | None = None
    results: str | None = None


class TGJobDoneCallback(Synapse):
    """A miner tells the validator that a task has finished; optional in the subnet."""

    task_id: str
