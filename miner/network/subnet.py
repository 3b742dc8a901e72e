"""The messages between a miner that pulls and the subnet's validators, and what a miner signs.

A miner asks a validator for a task with ``PullTask`` and brings the splat with ``SubmitResults``;
``GetVersion`` is for validators among themselves. Names are URL paths. The transport authenticates
none of the fields; a submission carries a signature of its own, over ``submission_message``. Only
shapes and types; when to ask and what to make of the answers, others say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from miner.network.synapse import Synapse

CONSENT = (
    "I, as a miner on SN17, have obtained all licenses, rights and consents required to use,"
    " reproduce, modify, display, distribute and make available my submitted results to this"
    " subnet and its end users"
)
"""What a miner declares with each submission; a constant of the protocol, to the byte."""

SPZ_COMPRESSION = 2
"""The only kind of ``SubmitResults.compression`` that validators take: SPZ in a zstd frame."""


class _Part(BaseModel):
    """A value inside a message; like messages, it ignores fields that it does not know."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TextTask(_Part):
    """A splat is wanted of what a text says.

    Attributes:
        id: the validator's name for the task.
        prompt: the text; it is signed exactly as it came.
    """

    type: Literal["text"] = "text"
    id: str
    prompt: str


class ImageTask(_Part):
    """A splat is wanted of what a picture shows.

    Attributes:
        id: the validator's name for the task.
        prompt: base64 of the picture's file; it is signed exactly as it came.
    """

    type: Literal["image"] = "image"
    id: str
    prompt: str = Field(repr=False)


def _kind(value: Any) -> Any:
    """The tag of a task; one without says that it is a text."""
    if isinstance(value, Mapping):
        return value.get("type", "text")
    return getattr(value, "type", None)


SubnetTask = Annotated[
    Annotated[TextTask, Tag("text")] | Annotated[ImageTask, Tag("image")], Discriminator(_kind)
]
"""One of the two, told apart by ``type``."""


class PullTask(Synapse):
    """A miner asks for a task; every field is the validator's answer.

    Attributes:
        task: None where there is nothing for this miner now. The same again as long as it is
            assigned.
        validation_threshold: the least score that is accepted.
        throttle_period: seconds of generation that cost no cooldown.
        cooldown_until: unix seconds of the earliest next pull.
        cooldown_violations: pulls that came earlier, less what was forgiven.
    """

    task: SubnetTask | None = None
    validation_threshold: float = 0.6
    throttle_period: int = 0
    cooldown_until: int = 0
    cooldown_violations: int = 0


class Feedback(_Part):
    """What a validator made of a submission.

    Attributes:
        validation_failed: it could not be judged, through no fault of the miner's.
        task_fidelity_score: 0 to 1; 0 where it was not judged.
        average_fidelity_score: of this miner's submissions, smoothed.
        generations_within_the_window: accepted in the last four hours.
        current_duel_rating: Glicko-2, 1500 for a newcomer.
        current_miner_reward: what the weights are made of.
    """

    validation_failed: bool = False
    task_fidelity_score: float = 0.0
    average_fidelity_score: float = 0.0
    generations_within_the_window: int = 0
    current_duel_rating: float = 0.0
    current_miner_reward: float = 0.0


class SubmitResults(Synapse):
    """A miner brings the result of a task.

    Attributes:
        task: the task itself; counts for its id where ``task_id`` is empty.
        task_id: as pulled.
        results: base64 of a subnet SPZ, padded, without white space; "" gives the task back. Blank
            in the answer.
        data_format, data_ver: reserved.
        compression: ``SPZ_COMPRESSION``.
        submit_time: nanoseconds since 1970, as signed.
        signature: base64 of the hotkey's 64 bytes under ``submission_message``. Blank in the
            answer.
        feedback: answer.
        cooldown_until: answer: unix seconds of the earliest next pull; 0 or past where there is
            no cooldown.
    """

    task: SubnetTask | None = None
    task_id: str = ""
    results: str = Field(repr=False)
    data_format: str = "ply"
    data_ver: int = 0
    compression: int = SPZ_COMPRESSION
    submit_time: int
    signature: str
    feedback: Feedback | None = None
    cooldown_until: int = 0


class GetVersion(Synapse):
    """A validator asks another which versions it runs; miners get no answer.

    Attributes:
        version: answer: of the validator.
        validation_version: answer: of its scorer.
    """

    version: int = 0
    validation_version: str = ""


def submission_message(
    submit_time_ns: int, prompt: str, validator_hotkey: str, miner_hotkey: str
) -> bytes:
    """What a miner signs for one submission; nothing stands between the parts.

    Args:
        submit_time_ns: ``SubmitResults.submit_time``.
        prompt: of the task, exactly as it was pulled; of a picture the whole base64.
        validator_hotkey: ss58 address of the one it goes to.
        miner_hotkey: ss58 address of the one who signs.

    Raises:
        UnicodeEncodeError: the prompt holds a lone surrogate, which no JSON text can bring.
    """
    return f"{CONSENT}{submit_time_ns}{prompt}{validator_hotkey}{miner_hotkey}".encode()
