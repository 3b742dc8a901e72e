"""A task as a validator gave it, and the job that it becomes.

The prompt is kept exactly as it came, as the signature of the result covers it; what is made of it
is cleaned and checked like any other.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from miner.errors import BadImage, MalformedRequest
from miner.job import Format, Job, JobSpec, new_job_id, own_seed
from miner.network import base64_text
from miner.network.subnet import ImageTask, TextTask
from miner.pipeline.image_header import MAX_BYTES, check_bytes, check_header
from miner.pipeline.prompts import clean_prompt

INTAKE = "pull"
TASK_FORMAT: Format = "spz"
MAX_ID_CHARACTERS = 128
"""Validators use UUIDs, of 36."""
MAX_PROMPT_CHARACTERS = MAX_BYTES // 3 * 4 + 4
"""Of a picture as base64; a longer prompt is nothing that could be worked on."""
MAX_FREE_SECONDS = 300.0
DELIVERY_SECONDS = 3.0
"""Of the free time, for bringing the result: the validator counts until it has judged it."""


class Assignment(BaseModel):
    """One task in hand, as it is kept over restarts.

    Attributes:
        validator: the hotkey of the one who gave it.
        id: the validator's name for it.
        kind: what ``prompt`` is.
        prompt: text, or base64 of a picture's file, exactly as it came.
        threshold: the least score that the validator accepts.
        free_seconds: of generation that cost no cooldown.
        pulled_at: unix seconds.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    validator: str
    id: str
    kind: Literal["text", "image"]
    prompt: str = Field(repr=False)
    threshold: float = 0.0
    free_seconds: float = 0.0
    pulled_at: float = 0.0

    @property
    def key(self) -> str:
        """Its name in the journal; two validators may use one id."""
        return f"pull:{self.validator}:{self.id}"


def assignment_of(
    task: TextTask | ImageTask,
    validator: str,
    threshold: float,
    free_seconds: float,
    pulled_at: float,
) -> Assignment:
    """The task as it is kept.

    Raises:
        MalformedRequest: its id can be no name, or its prompt is too long to be kept or no text: it
            could be neither worked on nor given back.
    """
    if not (0 < len(task.id) <= MAX_ID_CHARACTERS and task.id.isprintable()):
        raise MalformedRequest("the task's id is empty, too long or not printable")
    if len(task.prompt) > MAX_PROMPT_CHARACTERS:
        raise MalformedRequest("the task's prompt is longer than any picture may be")
    if not task.prompt.isascii():
        try:
            task.prompt.encode()
        except UnicodeEncodeError as error:
            raise MalformedRequest("the task's prompt is not text") from error
    free = min(max(0.0, free_seconds), MAX_FREE_SECONDS)
    return Assignment(
        validator=validator,
        id=task.id,
        kind=task.type,
        prompt=task.prompt,
        threshold=threshold,
        free_seconds=free,
        pulled_at=pulled_at,
    )


async def spec_of(assignment: Assignment, miner: str) -> JobSpec:
    """What is to be made.

    Args:
        assignment: the task.
        miner: our hotkey.

    Raises:
        BadPrompt, BadImage: nothing can be made of it.
    """
    seed = own_seed(miner, assignment.key)
    if assignment.kind == "text":
        return JobSpec(prompt=clean_prompt(assignment.prompt), seed=seed, format=TASK_FORMAT)
    check_bytes(len(assignment.prompt) // 4 * 3)
    try:
        image = await base64_text.decode(assignment.prompt)
    except MalformedRequest as error:
        raise BadImage(f"the picture is {error}") from error
    check_header(image)
    return JobSpec(image=image, seed=seed, format=TASK_FORMAT)


def job_of(
    assignment: Assignment, spec: JobSpec, stake: float, deadline: float, age_seconds: float
) -> Job:
    """The job for the queue; promised, as the validator holds the task for us.

    Args:
        assignment: the task.
        spec: of it.
        stake: of the validator.
        deadline: steady seconds.
        age_seconds: since it was pulled, which is spent of what is free.
    """
    free = assignment.free_seconds - max(0.0, age_seconds) - DELIVERY_SECONDS
    return Job(
        new_job_id(),
        spec,
        requester=assignment.validator,
        intake=INTAKE,
        deadline=deadline,
        priority=stake,
        promised=True,
        task_id=assignment.key,
        free_seconds=max(0.0, free),
    )
