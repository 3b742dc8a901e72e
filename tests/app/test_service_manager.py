"""What the service manager hears."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from miner.app.service_manager import ServiceManager


class Ear:
    """A manager's socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """The messages so far."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Ear, str]]:
    """A manager, and the address as it would be in the environment."""
    if request.param == "path":
        address = told = str(tmp_path / "notify")
    else:
        told = f"@miner-test-{tmp_path.name}"
        address = f"\0{told[1:]}"
    ear = Ear(address)
    yield ear, told
    ear.close()


class Sleeps:
    """Lets so many waits pass, and then cancels whoever waits; keeps their lengths."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.left -= 1
        if self.left < 0:
            raise asyncio.CancelledError


def test_every_message_is_in_the_managers_words(ear: tuple[Ear, str]) -> None:
    """READY, RELOADING with the clock, STOPPING and STATUS go out as sd_notify(3) spells them."""
    heard, address = ear
    manager = ServiceManager(address, clock=lambda: 12.5)
    manager.ready("serving")
    manager.reloading()
    manager.status("two\nlines")
    manager.stopping("draining")

    assert heard.heard() == [
        "READY=1\nSTATUS=serving",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "STATUS=two lines",
        "STOPPING=1\nSTATUS=draining",
    ]


async def test_signs_of_life_stop_when_all_is_not_well(ear: tuple[Ear, str]) -> None:
    """Three signs in the time of one, and none while a worker is silent."""
    heard, address = ear
    sleeps = Sleeps(3)
    well = iter([True, True, False, True])
    manager = ServiceManager(address, watchdog_seconds=30.0, sleep=sleeps)
    with pytest.raises(asyncio.CancelledError):
        await manager.watchdog(lambda: next(well))

    assert heard.heard() == ["WATCHDOG=1"] * 3
    assert set(sleeps.seconds) == {10.0}


async def test_more_time_is_asked_for_before_it_is_over(ear: tuple[Ear, str]) -> None:
    """Each request is for longer than until the next one."""
    heard, address = ear
    sleeps = Sleeps(1)
    with pytest.raises(asyncio.CancelledError):
        await ServiceManager(address, sleep=sleeps).extend(lambda: "loading")

    assert heard.heard() == ["EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading"] * 2
    assert max(sleeps.seconds) * 2 < 30.0


async def test_without_a_manager_nothing_is_said(tmp_path: Path) -> None:
    """No address, or nobody at it: no error, and no watchdog to feed."""
    for address in (None, str(tmp_path / "nobody")):
        manager = ServiceManager(address)
        manager.ready("serving")
        await manager.watchdog(lambda: True)
