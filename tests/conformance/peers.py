"""The official client and server as child processes of the tests."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.conformance.environments import environment, interpreter

SCRIPTS = Path(__file__).parent / "official"
ANSWER_SECONDS = 60.0


class PeerDied(Exception):
    """The process ended, or did not answer in time; the text holds the end of its log."""


class Peer:
    """One script of ``official/`` run by the release asked for. Blocking: ask from a thread."""

    def __init__(self, version: str, script: str, log: Path, *arguments: str) -> None:
        self.version = version
        self._log = log
        self._ask = threading.Lock()
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [interpreter(version), SCRIPTS / script, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(),
                cwd=log.parent,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def close(self) -> None:
        """Ends the process: kindly, then not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, **question: Any) -> dict[str, Any]:
        """One question and its answer.

        Raises:
            PeerDied: there was none.
        """
        with self._ask:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            return self.next_line()

    def next_line(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            PeerDied: there was none.
        """
        assert self._process.stdout is not None
        watchdog = threading.Timer(ANSWER_SECONDS, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise PeerDied(self._log.read_text(errors="replace")[-4000:])
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerDied(answer["error"])
        return answer


class OfficialServer(Peer):
    """The official server, listening.

    Attributes:
        port, hotkey: where and who it is.
    """

    def __init__(self, version: str, log: Path, key: str, denied: str) -> None:
        self.port = free_port()
        super().__init__(version, "server.py", log, str(self.port), key, denied)
        try:
            self.hotkey = self.next_line()["hotkey"]
        except PeerDied:
            self.close()
            raise


class OfficialClient(Peer):
    """The official client, waiting for calls to make."""

    def __init__(self, version: str, log: Path) -> None:
        super().__init__(version, "client.py", log)

    def call(self, port: int, hotkey: str, message: str, **fields: Any) -> dict[str, Any]:
        """One call of the official library with its answer, all fields; see ``client.py``.

        ``_key``, ``_timeout`` and ``_spoil`` say who calls, how long, and what is done wrong.
        """
        return self.ask(
            op="call",
            ip="127.0.0.1",
            port=port,
            hotkey=hotkey,
            message=message,
            key=fields.pop("_key", "//Validator"),
            timeout=fields.pop("_timeout", 20.0),
            spoil=fields.pop("_spoil", None),
            fields=fields,
        )


def free_port() -> int:
    """A TCP port of this machine that was free a moment ago: the official server takes no 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
