"""The subnet's messages as an official peer defines them: its own base class, our field tables."""

from typing import ClassVar

import bittensor


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


class Unheard(bittensor.Synapse):
    """A message that no miner of these tests serves."""

    prompt: str = ""


MESSAGES = {message.__name__: message for message in (Generate3D, TGTask, TGPoll, Unheard)}
