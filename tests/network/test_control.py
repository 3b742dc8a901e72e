"""The control socket: the owner's alone, of this life alone, and every verb through it."""

from __future__ import annotations

import asyncio
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from miner.errors import BindError, ControlError
from miner.network.control import serve_control
from miner.network.control_client import SOCKET_NAME, ask
from tests.network.operator_fakes import FakeDaemon, FakeView


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state directory whose path is short, as sockets need it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon(FakeView())


@pytest_asyncio.fixture
async def served(folder: Path, daemon: FakeDaemon) -> AsyncIterator[Path]:
    async with serve_control(folder, daemon.view, daemon):
        yield folder


async def asked(folder: Path, method: str, verb: str) -> dict[str, Any]:
    return await asyncio.to_thread(ask, folder, method, verb)


async def test_every_verb_is_answered(served: Path, daemon: FakeDaemon) -> None:
    """Status, drain, reload and stop do what they say and answer with it."""
    status = await asked(served, "GET", "status")
    assert (status["ready"], status["queue"]["depth"]) == (True, 3)
    assert await asked(served, "POST", "reload") == {
        "applied": ["admission.min_stake"],
        "waiting": ["axon.port"],
    }
    assert await asked(served, "POST", "drain") == {"depth": 0, "in_flight": 0}
    assert not daemon.view.queue.accepting
    assert await asked(served, "POST", "stop") == {"stopping": True}
    assert daemon.stopped


async def test_the_generator_is_moved(served: Path, daemon: FakeDaemon) -> None:
    """Rollback and restore answer with how the breaker is then; a hold is asked for by name."""
    with pytest.raises(ControlError, match="no generator to roll back to"):
        await asked(served, "POST", "rollback")
    daemon.view.rollback = {"state": "closed", "steps": []}

    assert (await asked(served, "POST", "rollback"))["generator"] == "dreamgaussian"
    assert (await asked(served, "POST", "restore"))["state"] == "closed"
    assert (await asked(served, "POST", "restore?hold=1"))["state"] == "pinned"
    assert (await asked(served, "GET", "status"))["rollback"]["state"] == "closed"
    with pytest.raises(ControlError, match="hold: must be 0 or 1"):
        await asked(served, "POST", "restore?hold=maybe")


async def test_a_refusal_is_told_as_such(served: Path, daemon: FakeDaemon) -> None:
    """Settings that do not hold refuse the reload, and the caller reads why."""
    daemon.broken_settings = True
    with pytest.raises(ControlError, match=r"refused: axon\.port: must be a number"):
        await asked(served, "POST", "reload")
    with pytest.raises(ControlError, match="refused"):
        await asked(served, "POST", "nonsense")
    with pytest.raises(ControlError, match="refused"):
        await asked(served, "GET", "stop")
    assert not daemon.stopped


async def test_only_the_owner_may_open_it(served: Path) -> None:
    """The socket's mode lets nobody else in."""
    mode = (served / SOCKET_NAME).stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


async def test_a_socket_of_an_earlier_life_is_replaced(folder: Path, daemon: FakeDaemon) -> None:
    """A daemon that was killed leaves its socket; the next one serves in its place."""
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(folder / SOCKET_NAME))
    async with serve_control(folder, daemon.view, daemon):
        assert (await asked(folder, "GET", "status"))["ready"]
    assert not (folder / SOCKET_NAME).exists()


async def test_what_is_no_socket_is_left_alone(folder: Path, daemon: FakeDaemon) -> None:
    """A file of that name is somebody's; the start is refused in one line."""
    (folder / SOCKET_NAME).write_text("mine")
    with pytest.raises(BindError, match="is no socket"):
        async with serve_control(folder, daemon.view, daemon):
            pass
    assert (folder / SOCKET_NAME).read_text() == "mine"


async def test_a_place_where_no_socket_can_be_is_told(folder: Path, daemon: FakeDaemon) -> None:
    """Too long a path, and a folder that is not there, are the operator's to mend."""
    for place in (folder / ("x" * 120), folder / "missing"):
        with pytest.raises(BindError):
            async with serve_control(place, daemon.view, daemon):
                pass


def test_without_a_daemon_the_caller_hears_so(folder: Path) -> None:
    """No socket, or one nobody listens on: one line names the state directory."""
    with pytest.raises(ControlError, match="no daemon is running"):
        ask(folder, "GET", "status")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(folder / SOCKET_NAME))
        with pytest.raises(ControlError, match="no daemon is running"):
            ask(folder, "GET", "status")


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[1]", b"HTTP/1.1 500 No\r\n\r\n{}"],
)
def test_an_answer_of_something_else_is_an_error_in_one_line(folder: Path, answer: bytes) -> None:
    """Whatever sits at the socket, the caller gets an error of ours."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / SOCKET_NAME))
        other.listen()
        with pytest.raises(ControlError):
            _ask_one_that_says(folder, other, answer)


def _ask_one_that_says(folder: Path, listener: socket.socket, answer: bytes) -> None:
    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with ThreadPoolExecutor(1) as threads:
        answering = threads.submit(answer_once)
        ask(folder, "GET", "status")
        answering.result()


def test_a_silent_daemon_is_not_waited_for_without_end(folder: Path) -> None:
    """Nobody answers within the time given: an error says so."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / SOCKET_NAME))
        other.listen()
        with pytest.raises(ControlError, match="did not answer in time"):
            ask(folder, "GET", "status", timeout_seconds=0.05)
