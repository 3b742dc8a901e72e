"""What the form of ``/generate`` asks for, checked before anything is done for it.

Fields: ``prompt`` or ``prompt_image_file``, and, as one likes, ``seed``, ``format``, ``timeout``.
Others are ignored, as the service that this one follows does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast, get_args

from miner.errors import BadOption
from miner.job import MAX_SEED, Format, JobSpec
from miner.network.forms import Form
from miner.pipeline.image_header import check_header
from miner.pipeline.prompts import clean_prompt
from miner.settings.daemon import QueueSettings

FORMATS = get_args(Format)
_SEED = re.compile(r"[0-9]{1,19}")
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


@dataclass(frozen=True)
class Order:
    """What is wanted, and within how many seconds."""

    spec: JobSpec
    timeout_seconds: float


def read_order(form: Form, settings: QueueSettings) -> Order:
    """The order in a form.

    Raises:
        BadPrompt: as ``clean_prompt``.
        BadImage: not the beginning of a picture of a known type and size.
        BadOption: both or neither of prompt and picture, or another field is out of its range.
        MalformedRequest, PayloadTooLarge: a field is not text, or too long a one.
    """
    timeout = _timeout(form.text("timeout"), settings)
    seed, format_ = _seed(form.text("seed")), _format(form.text("format"))
    image = form.file("prompt_image_file")
    if image is not None:
        if "prompt" in form.fields:
            raise BadOption("give either prompt or prompt_image_file, not both")
        check_header(image)
        return Order(JobSpec(image=image, seed=seed, format=format_), timeout)
    prompt = form.text("prompt")
    if prompt is None:
        raise BadOption("the form has neither prompt nor prompt_image_file")
    return Order(JobSpec(prompt=clean_prompt(prompt), seed=seed, format=format_), timeout)


def _seed(text: str | None) -> int:
    if text is None:
        return 0
    if not _SEED.fullmatch(text) or int(text) > MAX_SEED:
        raise BadOption(f"seed must be a whole number from 0 to {MAX_SEED}")
    return int(text)


def _format(text: str | None) -> Format:
    if text is None:
        return "ply"
    if text not in FORMATS:
        raise BadOption(f"format must be one of {', '.join(FORMATS)}")
    return cast(Format, text)


def _timeout(text: str | None, settings: QueueSettings) -> float:
    """Seconds, no more than a caller may ask for."""
    if text is None:
        return settings.default_timeout_seconds
    if not _SECONDS.fullmatch(text) or float(text) <= 0:
        raise BadOption("timeout must be a number of seconds above 0, as in 60 or 2.5")
    return min(float(text), settings.max_timeout_seconds)
