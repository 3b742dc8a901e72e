"""One worker process as the daemon holds it: spawned, spoken to, listened to, ended.

No policy: when to end it and what then is the supervisor's. The process has a session of its own,
so that Ctrl-C in a terminal reaches the daemon alone. What it prints goes to the log line by line,
and its last lines are kept to tell why it died.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from miner.workers.channel import AsyncChannel

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""For a worker to leave by itself when its channel ends; it has nothing to save."""

TRACE_SECONDS = 0.3
"""For the stack of a hung one to reach the log."""

WORKER = "miner.workers.worker"

KEPT_LINES = 8
MAX_LINE_CHARACTERS = 500


class WorkerProcess:
    """A running worker. Ends with the ``async with`` that it is used in."""

    def __init__(self, name: str, process: Process, channel: AsyncChannel) -> None:
        self.name = name
        self.channel = channel
        self._process = process
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._listening = asyncio.create_task(self._log_output(), name=f"output of worker {name}")

    @classmethod
    async def spawn(
        cls, name: str, engine: str, environment: Mapping[str, str], module: str = WORKER
    ) -> WorkerProcess:
        """A new process that waits for its configuration.

        Args:
            name: of the worker, for the log.
            engine: ``module:Class`` of its engine.
            environment: all of its environment.
            module: what is run, with the same options.

        Raises:
            OSError: the system gives us no process.
        """
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            # -P: the folder we happen to be in holds no modules for the worker.
            command = [sys.executable, "-P", "-m", module]
            command += ["--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
            process = await asyncio.create_subprocess_exec(
                *command,
                "--engine",
                engine,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            undo.pop_all()
        return cls(name, process, await AsyncChannel.open(ours))

    async def __aenter__(self) -> WorkerProcess:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def node(self) -> None:
        """This host."""

    @property
    def pid(self) -> int:
        """Of the process, also when it has ended."""
        return self._process.pid

    def kill(self) -> None:
        """Ends the process and whatever it started, now; SIGTERM would wait for a hung one."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def kill_with_trace(self) -> None:
        """As ``kill``, after what each thread is at has gone to the log."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
            await asyncio.sleep(TRACE_SECONDS)
        self.kill()

    async def close(self) -> None:
        """Ends the channel, which ends the process; kills it where that does not help."""
        try:
            await self.channel.close()
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning("worker %s: does not leave, and is killed", self.name)
        finally:
            self.kill()  # and what it may have left behind
            await self._process.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):  # something else may hold the pipe
                    await self._listening

    def epitaph(self) -> str:
        """How the process ended, with its last words, in one line."""
        code = self._process.returncode
        if code is None:
            ended = "still running"
        elif code < 0:
            ended = f"killed by {_signal_name(-code)}"
        else:
            ended = f"ended with exit code {code}"
        last = next((line for line in reversed(self._last_lines) if line.strip()), "")
        return f"{ended}: {last.strip()}" if last else ended

    async def _log_output(self) -> None:
        """Until every holder of the pipe has ended."""
        assert self._process.stdout is not None
        rest = b""
        while piece := await self._process.stdout.read(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._log_line(line)
            rest = rest[:MAX_LINE_CHARACTERS]
        if rest:
            self._log_line(rest)

    def _log_line(self, line: bytes) -> None:
        text = line[:MAX_LINE_CHARACTERS].decode("utf-8", "replace").rstrip()
        if text:
            self._last_lines.append(text)
            log.info("worker %s: %s", self.name, text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
