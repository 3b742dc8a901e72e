"""What the service manager hears over one life of a real daemon process."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.running import Running, calling
from tests.app.test_service_manager import Ear


class Managed(Running):
    """A daemon whose environment names a manager, as systemd's would."""

    manager: Path
    watchdog_seconds = 0.3

    def _environment(self) -> dict[str, str]:
        microseconds = str(int(self.watchdog_seconds * 1e6))
        own = {"NOTIFY_SOCKET": str(self.manager), "WATCHDOG_USEC": microseconds}
        return {**super()._environment(), **own}


class Manager(Ear):
    """Keeps what was heard."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.messages: list[str] = []

    def listen(self) -> list[str]:
        self.messages += self.heard()
        return self.messages

    def count(self, words: str) -> int:
        return sum(words in message for message in self.listen())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


def managed(tmp_path: Path, manager: Manager, engine: str) -> Managed:
    running = Managed(tmp_path, engine)
    running.manager = tmp_path / "notify"
    return running


async def test_a_life_is_told_in_order(tmp_path: Path, manager: Manager) -> None:
    """Loading, ready with the work at hand, a reload, draining with what is left, and no more."""
    running = managed(tmp_path, manager, "Sleeping")
    await running.start()
    await running.until(lambda: manager.count("READY=1") == 1)
    async with calling(running) as caller:
        await caller.push("a red cube", "task-1")
        await running.until(lambda: manager.count("STATUS=ready: 0 in the queue, 1 running") > 0)
        running.settings.write_text(running.settings.read_text() + "\n[log]\nlevel = 'debug'\n")
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        await running.until(lambda: manager.count("READY=1") == 2)
        running.process.send_signal(signal.SIGTERM)
        await running.until(lambda: manager.count("STATUS=draining: 0 in the queue, 1 run") > 0)
        (running.scratch / "go").touch()
        assert await running.process.wait() == 0

    heard = manager.listen()
    beats = [one for one in heard if one == "WATCHDOG=1"]
    told = [one.partition("\n")[0] for one in heard if one != "WATCHDOG=1"]
    kinds = [one.partition("=")[0] for one in told]
    assert kinds[0] == "EXTEND_TIMEOUT_USEC"
    assert kinds.index("READY") < kinds.index("RELOADING") < kinds.index("STOPPING")
    assert "EXTEND_TIMEOUT_USEC" in kinds[kinds.index("STOPPING") :]
    assert len(beats) >= 2


async def test_nothing_is_ready_before_it_is_warm(tmp_path: Path, manager: Manager) -> None:
    """While the models load more time is asked for, and a stop then is told as one."""
    running = managed(tmp_path, manager, "SlowToLoad")
    await running.start(ready=False)
    await running.until(lambda: manager.count("STATUS=loading mini") > 0)

    assert await running.end() == 0
    assert manager.count("READY=1") == 0
    assert manager.count("WATCHDOG=1") == 0
    assert manager.count("STOPPING=1") == 1


async def test_a_reload_that_is_refused_ends_as_well(tmp_path: Path, manager: Manager) -> None:
    """The manager is not left waiting when the new settings do not hold."""
    running = managed(tmp_path, manager, "Quick")
    await running.start()
    await running.until(lambda: manager.count("READY=1") == 1)
    running.settings.write_text(running.settings.read_text() + "\n[axom]\nport = 1\n")
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    await running.until(lambda: manager.count("READY=1") == 2)

    assert manager.count("RELOADING=1\nMONOTONIC_USEC=") == 1
    assert await running.end() == 0
