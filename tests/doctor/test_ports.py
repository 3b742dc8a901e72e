"""The addresses to listen on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miner.doctor.ports import bind_error, look_at_ports, ports_of
from miner.errors import BindError
from tests.doctor.machines import case


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on loopback that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def free() -> int:
    """A port that nobody holds, a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_free_ports_are_ok_and_stay_free(tmp_path: Path) -> None:
    """Looking at a port does not take it."""
    port = free()
    for _ in range(2):
        found = await look_at_ports(case(tmp_path, api={"port": port}))
        assert (found.status, found.line) == ("ok", f"api {port} is free")


async def test_any_free_port_needs_no_look(tmp_path: Path) -> None:
    """Port 0 is chosen when the door opens."""
    assert (await look_at_ports(case(tmp_path))).status == "skip"


async def test_a_taken_port_stops_the_start(tmp_path: Path, taken: int) -> None:
    """With the command that shows who has it."""
    found = await look_at_ports(case(tmp_path, metrics={"port": taken}))

    assert found.stops is BindError
    assert found.line.startswith(f"metrics: cannot listen on 127.0.0.1:{taken}")
    assert f"sport = :{taken}" in found.mend


async def test_ports_of_our_own_daemon_are_as_they_should_be(tmp_path: Path, taken: int) -> None:
    """While it runs its ports are taken, by it; a start is not told so."""
    running = {"addresses": {"api": f"http://127.0.0.1:{taken}"}}
    one = case(tmp_path, api={"port": taken})

    async def status() -> dict[str, Any]:
        return running

    await one.once("daemon", status)
    assert (await look_at_ports(one)).line == f"api {taken} is our daemon's"
    one.starting = True
    assert (await look_at_ports(one)).stops is BindError


@pytest.mark.parametrize(
    ("hosts", "clash"),
    [
        (("127.0.0.1", "127.0.0.1"), True),
        (("0.0.0.0", "127.0.0.1"), True),
        (("127.0.0.1", "127.0.0.2"), False),
    ],
)
async def test_two_servers_on_one_port_are_named(
    tmp_path: Path, hosts: tuple[str, str], clash: bool
) -> None:
    """Also where one of them listens everywhere."""
    port, (first, second) = free(), hosts
    flags = {"api": {"host": first, "port": port}, "metrics": {"host": second, "port": port}}
    found = await look_at_ports(case(tmp_path, **flags))

    assert (found.stops is BindError) == clash
    if clash:
        assert "api and metrics" in found.line


async def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    """No search for who listens there: nobody can."""
    found = await look_at_ports(case(tmp_path, api={"host": "203.0.113.1", "port": free()}))

    assert found.stops is BindError
    assert "set another api host" in found.mend


def test_a_status_that_says_little_holds_no_ports() -> None:
    """A daemon that is loading has no addresses yet."""
    assert ports_of(None) == ports_of({}) == ()
    assert bind_error("127.0.0.1", 0) is None
