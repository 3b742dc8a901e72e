"""Asks a running daemon through its control socket. Small and blocking, for a command line."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from miner.errors import ControlError

SOCKET_NAME = "control.sock"
MAX_PATH_BYTES = 107
"""What the kernel takes for a Unix socket's path, less the zero at its end."""
MAX_REPLY_BYTES = 16 * 1024 * 1024


class _Connection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    state_dir: Path, method: str, verb: str, timeout_seconds: float | None = 10.0
) -> dict[str, Any]:
    """What the daemon of this state directory answers.

    Args:
        state_dir: of the daemon's settings.
        method: "GET" or "POST".
        verb: the page's name, as in "status".
        timeout_seconds: for each step of the conversation; None waits as long as it takes.

    Raises:
        ControlError: no daemon runs there, it may not be asked, it did not answer in time, or it
            refused; says which.
    """
    path = state_dir / SOCKET_NAME
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ControlError(f"{path}: too long for a socket's path")
    connection = _Connection(path, timeout_seconds if timeout_seconds is not None else 0)
    if timeout_seconds is None:
        connection.timeout = None
    try:
        connection.request(method, f"/{verb}")
        response = connection.getresponse()
        body = response.read(MAX_REPLY_BYTES + 1)
    except TimeoutError as error:
        raise ControlError("the daemon did not answer in time; see its log") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ControlError(f"no daemon is running with the state directory {state_dir}") from error
    except PermissionError as error:
        raise ControlError(f"{path}: may not be opened by this user; ask as its owner") from error
    except (OSError, http.client.HTTPException) as error:
        raise ControlError(f"the daemon ended while it was asked: {error!r}") from error
    finally:
        connection.close()
    return _read(response.status, body)


def _read(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
        refusal = None if status == http.HTTPStatus.OK else answer["error"]["message"]
    except (ValueError, KeyError, TypeError) as error:
        raise ControlError(f"what answers at the control socket is no miner: {status}") from error
    if refusal is not None:
        raise ControlError(f"the daemon refused: {refusal}")
    if not isinstance(answer, dict):
        raise ControlError("what answers at the control socket is no miner")
    return answer
