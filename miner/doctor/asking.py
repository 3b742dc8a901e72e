"""Asking what may not answer: a function in a thread, a program in a process.

A check has a time limit, and the limit has to hold. A thread cannot be killed and is left behind
(it dies with the process); a program is killed, and one that the kernel does not let go of is left
behind as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")

GRACE_SECONDS = 2.0
"""For a killed program to be gone."""
MISSING = 127
"""The exit status, as shells say it, of a program that is not there."""


@dataclass(frozen=True)
class Done:
    """How a program ended.

    Attributes:
        status: its exit status; negative for a signal, 127 where there is no such program.
        out, err: what it wrote.
    """

    status: int
    out: str
    err: str


class Run(Protocol):
    """Runs a program to its end; whoever cancels it has it killed."""

    async def __call__(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Done:
        """Never raises for a program that is missing or fails."""


async def run_program(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Done:
    """The real one: implements ``Run``.

    Args:
        arguments: the program and what it is given.
        environment: its whole environment; ours when not given.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        return Done(MISSING, "", f"{arguments[0]}: {error.strerror}")
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            await _kill(process)
    status = process.returncode if process.returncode is not None else -1
    return Done(status, out.decode(errors="replace"), err.decode(errors="replace"))


async def in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """What the function returns or raises; when cancelled, its thread is left to itself.

    Unlike ``asyncio.to_thread`` no thread is waited for when the loop ends: a file system that
    hangs must not hold the program.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(put: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            put(value)

    def work() -> None:
        put: Callable[[Any], None] = future.set_result
        try:
            value: Any = function(*arguments)
        except Exception as error:  # carried over to whoever waits
            put, value = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, put, value)

    threading.Thread(target=work, name="doctor", daemon=True).start()
    return await future


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
