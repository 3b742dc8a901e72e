"""What a validator finds out about a submission: whether the signature holds, what the splat is.

The splat must be what the subnet's decoder reads and pass the validity gate; it then gets a score
from a function that stands in for the subnet's models. Stricter than the subnet where our gate is.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field

import zstandard

from miner.admission.signature import SIGNATURE_BYTES, verify
from miner.encoder import spz
from miner.encoder.container import ZSTD_MAGIC
from miner.errors import BadAsset, BadOutput, JobFailed, MalformedRequest
from miner.geometry.gaussians import Gaussians
from miner.network import base64_text
from miner.network.subnet import SubmitResults, SubnetTask, submission_message
from miner.pipeline import quality

Scorer = Callable[[SubnetTask, Gaussians], float | None]
"""Scores a splat that passed the gate, from 0 up; None where it cannot. Runs in a thread."""

MAX_PROMPT_CHARACTERS = 1024
"""The subnet's scorer refuses a longer text, and the submission is not judged."""
MAX_RESULTS_CHARACTERS = 500 * 2**20
"""Likewise."""


@dataclass(frozen=True)
class Judgement:
    """What was found.

    Attributes:
        score: None where it could not be judged.
        reason: why there is no score, or one of 0.
        data: the file, where it is one.
    """

    score: float | None
    reason: str = ""
    data: bytes | None = field(default=None, repr=False)


def full_marks(task: SubnetTask, gaussians: Gaussians) -> float:
    """The score of whatever passes the gate."""
    return 1.0


def is_signed(submission: SubmitResults, task: SubnetTask, validator: str, miner: str) -> bool:
    """Whether the miner signed this submission of this task to this validator.

    Args:
        submission: as it came.
        task: as it was assigned.
        validator: ss58 address.
        miner: ss58 address.

    Raises:
        JobFailed: status 500: the signature is not base64 of 64 bytes. The subnet's validators fail
            so, and leave the task assigned.
    """
    try:
        signature = base64.b64decode(submission.signature, validate=True)
    except ValueError as error:
        raise _fault("the signature is not base64") from error
    if len(signature) != SIGNATURE_BYTES:
        raise _fault(f"the signature has {len(signature)} bytes, not {SIGNATURE_BYTES}")
    try:
        message = submission_message(submission.submit_time, task.prompt, validator, miner)
    except UnicodeEncodeError:
        return False
    return verify(miner, message, signature)


def _fault(message: str) -> JobFailed:
    return JobFailed(f"Internal Server Error: {message}", code="bad_signature", status=500)


async def judge(task: SubnetTask, results: str, scorer: Scorer = full_marks) -> Judgement:
    """Decodes, checks and scores a result; never raises for what is in it."""
    if task.type == "text" and len(task.prompt) > MAX_PROMPT_CHARACTERS:
        return Judgement(None, "the scorer takes no prompt of this length")
    if len(results) > MAX_RESULTS_CHARACTERS:
        return Judgement(None, "the scorer takes no result of this size")
    try:
        data = await base64_text.decode(results)
    except MalformedRequest as error:
        return Judgement(0.0, str(error))
    return await asyncio.to_thread(_score, task, data, scorer)


def _score(task: SubnetTask, data: bytes, scorer: Scorer) -> Judgement:
    try:
        _check_container(data)
        gaussians = spz.decode(data)
        quality.check(gaussians)
    except (BadAsset, BadOutput) as error:
        return Judgement(0.0, str(error), data)
    score = scorer(task, gaussians)
    return Judgement(score, "" if score is not None else "the scorer failed", data)


def _check_container(data: bytes) -> None:
    """Refuses what other programs read and the subnet's decoder does not.

    Raises:
        BadAsset: it is no zstd frame, or the frame does not carry its content's size, by which the
            subnet's decoder allocates.
    """
    if not data.startswith(ZSTD_MAGIC):
        raise BadAsset("not an SPZ file of the subnet: it does not begin as zstd")
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise BadAsset("the SPZ file's zstd frame is damaged") from error
    if size < 0:
        raise BadAsset("the SPZ file's zstd frame does not carry its content's size")
