"""Questions and answers as JSON lines over stdin and stdout, for a script run by another program.

The library may print what it likes: its stdout is turned to stderr before it is imported.
"""

import hashlib
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

LONG = 1000
"""Longer texts are answered as their length and digest."""


def own_stdout() -> TextIO:
    """Takes stdout for the answers and gives everybody else stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


async def serve(answers: TextIO, handle: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
    """Answers each line until stdin ends; an exception becomes an answer with its name."""
    for line in sys.stdin:
        try:
            answer = await handle(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(shorten(answer)) + "\n")
        answers.flush()


def shorten(value: Any) -> Any:
    """The same value with long texts replaced by what identifies them."""
    if isinstance(value, dict):
        return {key: shorten(inner) for key, inner in value.items()}
    if isinstance(value, str) and len(value) > LONG:
        return {"length": len(value), "sha256": hashlib.sha256(value.encode()).hexdigest()}
    return value
