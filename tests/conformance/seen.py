"""What a caller sees of an answer, without what differs from call to call."""

from __future__ import annotations

import re
from typing import Any

from tests.conformance.official.lines import shorten

UNIQUE = {"nonce", "uuid", "signature", "process_time", "port", "version"}
"""Of these it is compared only whether they are there."""

SIZES = {"total_size", "header_size"}
"""Sizes of Python objects, which nobody checks."""

ERROR_ID = re.compile(r"#[0-9a-f-]{36}")
DETAIL = re.compile(r"(Signature mismatch|Nonce is too old).*", re.DOTALL)
"""The official server goes on with the message that it expected, or with figures."""


def seen(answer: dict[str, Any]) -> dict[str, Any]:
    """Every field of an answered synapse, terminals included, made comparable."""
    fields = {k: v for k, v in shorten(answer).items() if k not in SIZES}
    for end in ("axon", "dendrite"):
        fields[end] = {k: _comparable(k, v) for k, v in answer[end].items()}
    return fields


def outcome(answer: dict[str, Any]) -> dict[str, Any]:
    """The same, and of the terminals only how it went: for comparing two clients."""
    fields = seen(answer)
    for end in ("axon", "dendrite"):
        fields[end] = {k: fields[end][k] for k in ("status_code", "status_message")}
    return fields


def _comparable(name: str, value: Any) -> Any:
    if name in UNIQUE:
        return value is not None
    if name == "status_message" and isinstance(value, str):
        text = DETAIL.sub(r"\1", ERROR_ID.sub("#ID", value))
        return text.replace("'Synapse', ", "")  # the official server's own ping
    return value
