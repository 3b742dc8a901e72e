"""What a gateway and its worker say to each other, without how it is sent.

A gateway hands out tasks of people who wait at its other end. A worker signs the time of day and
nothing else: a call proves who makes it, and when. Every task comes with a token that its result
must carry. What a task says is believed no further than that it was offered: one that cannot be
made is reported as failed, so that another worker gets it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from miner.admission.signature import Signer
from miner.errors import BadImage, BadOption, MalformedRequest
from miner.job import Format, JobSpec
from miner.network import base64_text
from miner.pipeline.image_header import MAX_BYTES, check_bytes, check_header
from miner.pipeline.prompts import clean_prompt

TIMESTAMP_PREFIX = "404_GATEWAY_"
CLOCK_MARGIN_SECONDS = 2
"""We sign a moment that has just passed: a time in the gateway's future is refused, and one up to
30 s in its past is not."""

MAX_REASON_BYTES = 255
MAX_IMAGE_CHARACTERS = MAX_BYTES // 3 * 4 + 4
MIN_SEED, MAX_SEED = -(2**31), 2**32 - 1
"""Gateways hand seeds on as signed 32-bit numbers, and take unsigned ones from their clients."""


@dataclass(frozen=True)
class Signed:
    """A moment, and our signature under it."""

    timestamp: str
    signature: str

    @classmethod
    def now(cls, keypair: Signer, unix_seconds: float) -> Self:
        """For a call that is made at this moment."""
        timestamp = f"{TIMESTAMP_PREFIX}{int(unix_seconds) - CLOCK_MARGIN_SECONDS}"
        signature = base64.b64encode(keypair.sign(timestamp.encode())).decode()
        return cls(timestamp, signature)


class GatewayTask(BaseModel):
    """One task as it was offered. Only its name and token are checked; see ``read_spec``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: UUID
    assignment_token: UUID
    prompt: Any = None
    image: Any = None
    model: Any = None
    seed: Any = 0


@dataclass(frozen=True)
class Offer:
    """A gateway's answer to the question for work.

    Attributes:
        tasks: are ours from now on.
        unreadable: how many more came that name no id or token.
    """

    tasks: tuple[GatewayTask, ...]
    unreadable: int = 0

    @classmethod
    def read(cls, document: object) -> Self:
        """The offer in a JSON document.

        Raises:
            MalformedRequest: it holds no list of tasks.
        """
        found = document.get("tasks") if isinstance(document, Mapping) else None
        if not isinstance(found, list):
            raise MalformedRequest("no list of tasks")
        tasks = []
        for one in found:
            try:
                tasks.append(GatewayTask.model_validate(one))
            except ValidationError:
                continue
        return cls(tuple(tasks), len(found) - len(tasks))


@dataclass(frozen=True)
class Assignment:
    """A task that is ours, as it is remembered until its result is delivered.

    Attributes:
        task_id: the gateway's name for it.
        token: proves that it was given to us.
        url: of the gateway.
        job_id: our own name for it.
        expires_at: unix seconds after which nobody wants the result.
    """

    task_id: str
    token: str
    url: str
    job_id: str
    expires_at: float

    @property
    def journal_id(self) -> str:
        """The task id of its job."""
        return f"gateway:{self.task_id}"

    def dump(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """What ``dump`` gave."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


async def read_spec(task: GatewayTask, model: str, format: Format) -> JobSpec:
    """What is to be made for a task.

    Args:
        task: as it was offered.
        model: what we make, in the gateway's words.
        format: of the result.

    Raises:
        BadOption: another model, an impossible seed, or not one of prompt and picture.
        BadPrompt, BadImage: it cannot be used.
    """
    if task.model is not None and task.model != model:
        raise BadOption(f"the model {str(task.model)[:64]!r} is not made here")
    if (task.prompt is None) == (task.image is None):
        raise BadOption("a task has either a prompt or an image")
    seed = _seed(task.seed)
    if task.image is not None:
        return JobSpec(image=await _image(task.image), seed=seed, format=format)
    if not isinstance(task.prompt, str):
        raise BadOption("prompt is not text")
    return JobSpec(prompt=clean_prompt(task.prompt), seed=seed, format=format)


def reason_text(message: str) -> str:
    """A reason as short as gateways take it, in bytes of UTF-8."""
    return message.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")


def _seed(value: object) -> int:
    """From 0 to 2^32 - 1; the bits are those of the gateway's signed number."""
    if isinstance(value, bool) or not isinstance(value, int) or not MIN_SEED <= value <= MAX_SEED:
        raise BadOption("seed is not a whole number of 32 bits")
    return value % 2**32


async def _image(text: object) -> bytes:
    if not isinstance(text, str):
        raise BadImage("the image is not base64 text")
    if len(text) > MAX_IMAGE_CHARACTERS:
        check_bytes(len(text) // 4 * 3)
    try:
        data = await base64_text.decode(text)
    except MalformedRequest as error:
        raise BadImage(f"the image is {error}") from error
    check_header(data)
    return data
