"""The subnet's messages as an official peer defines them: its own base class, our field tables."""

from typing import ClassVar, Literal

import bittensor
from pydantic import BaseModel, Field


class Generate3D(bittensor.Synapse):
    """One prompt or picture in, one splat out."""

    prompt: str | None = None
    image: str | None = None
    seed: int = 0
    format: str = "spz"
    results: str | None = None
    generator: str | None = None
    gaussians: int | None = None
    timings: dict[str, float] | None = None
    score: float | None = None

    required_hash_fields: ClassVar[tuple[str, ...]] = ("prompt", "image", "seed")


class TGTask(bittensor.Synapse):
    """A task pushed to the miner; both fields are required."""

    prompt: str
    task_id: str
    status: str | None = None


class TGPoll(bittensor.Synapse):
    """Asks what became of a task."""

    task_id: str
    status: str | None = None
    results: str | None = None


class TextTask(BaseModel):
    """What a validator wants, in words."""

    type: Literal["text"] = "text"
    id: str
    prompt: str


class ImageTask(BaseModel):
    """What a validator wants, as a picture."""

    type: Literal["image"] = "image"
    id: str
    prompt: str


class PullTask(bittensor.Synapse):
    """A miner asks for a task."""

    task: TextTask | ImageTask | None = Field(default=None, discriminator="type")
    validation_threshold: float = 0.6
    throttle_period: int = 0
    cooldown_until: int = 0
    cooldown_violations: int = 0


class Feedback(BaseModel):
    """What a validator says of a result."""

    validation_failed: bool = False
    task_fidelity_score: float = 0.0
    average_fidelity_score: float = 0.0
    generations_within_the_window: int = 0
    current_duel_rating: float = 0.0
    current_miner_reward: float = 0.0


class SubmitResults(bittensor.Synapse):
    """A miner brings a result; three fields are required."""

    task: TextTask | ImageTask | None = Field(default=None, discriminator="type")
    task_id: str = ""
    results: str
    data_format: str = "ply"
    data_ver: int = 0
    compression: int = 2
    submit_time: int
    signature: str
    feedback: Feedback | None = None
    cooldown_until: int = 0


class GetVersion(bittensor.Synapse):
    """A validator asks another for its versions."""

    version: int = 0
    validation_version: str = ""


class Unheard(bittensor.Synapse):
    """A message that no miner of these tests serves."""

    prompt: str = ""


SERVED_BY_MINERS = (Generate3D, TGTask, TGPoll)
SERVED_BY_VALIDATORS = (PullTask, SubmitResults, GetVersion)
MESSAGES = {
    message.__name__: message for message in (*SERVED_BY_MINERS, *SERVED_BY_VALIDATORS, Unheard)
}
