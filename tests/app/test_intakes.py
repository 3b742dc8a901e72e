"""The ways by which work comes, as the operator chooses them; a real daemon each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import pytest

from miner.metrics import Metrics
from miner.network.gateway.stand_in import StandIn
from miner.network.server import serve
from miner.settings import load
from miner.settings.listening import ListenLimits
from tests.app.executors import Executor
from tests.app.running import Running

pytestmark = pytest.mark.long

LIMITS = ListenLimits(max_body_bytes=64 * 2**20)


@contextlib.asynccontextmanager
async def living(running: Running, *intakes: str) -> AsyncIterator[Running]:
    """A daemon with these intakes; killed at the end if it still runs."""
    chosen = f"intakes = {json.dumps(list(intakes))}\n"
    running.settings.write_text(chosen + running.settings.read_text())
    await running.start()
    try:
        yield running
    finally:
        if running.process is not None and running.process.returncode is None:
            await running.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def asking(
    executor: Executor, folder: Path, engine: str, gateway: StandIn
) -> AsyncIterator[Running]:
    """A daemon that asks that gateway, often."""
    async with serve(
        gateway.application(),
        name="gateway",
        host="127.0.0.1",
        port=0,
        limits=LIMITS,
        metrics=Metrics(),
    ) as listening:
        settings = {
            "urls": json.dumps([listening.url]),
            "poll_seconds": 0.1,
            "format": "ply",
            "ahead": 2,
        }
        asker = executor.running(folder, engine, gateway=settings)
        async with living(asker, "gateway") as running:
            yield running


async def test_gateways_get_their_results(tmp_path: Path, executor: Executor) -> None:
    """Tasks of a gateway are made with their seeds and brought; no door is open for it."""
    gateway = StandIn()
    tasks = [gateway.add(prompt=f"chair {i}", seed=i) for i in range(5)]
    async with asking(executor, tmp_path, "Quick", gateway) as running:
        await running.until(lambda: all(task.results for task in tasks))
        status = running.status()
        page = status["addresses"]["metrics"]
        text = await asyncio.to_thread(lambda: urlopen(f"{page}/metrics").read().decode())

        assert set(status["addresses"]) == {"metrics"}
        calls = 'miner_gateway_calls_total{call="add_result",identity="main",outcome="success"} 5.0'
        assert calls in text
        assert await running.end() == 0

    hotkey = running.hotkey
    assert [task.results[hotkey].asset for task in tasks] == [
        f"chair {i} {i}".encode() for i in range(5)
    ]


async def test_a_kill_in_the_middle_loses_no_task(tmp_path: Path, executor: Executor) -> None:
    """What was taken before the kill is made and brought by the next life, once each."""
    gateway = StandIn()
    tasks = [gateway.add(prompt=f"chair {i}") for i in range(3)]
    async with asking(executor, tmp_path, "Sleeping", gateway) as running:
        await running.until((running.scratch / "begun").exists)
        await running.until(lambda: running.status()["queue"]["depth"] == 2)
        await running.end(signal.SIGKILL)
        (running.scratch / "go").touch()
        await running.start()
        await running.until(lambda: all(task.results for task in tasks))
        assert await running.end() == 0

    assert [r.status for task in tasks for r in task.results.values()] == ["success"] * 3
    assert running.outcomes() == {"done": 3}


async def test_a_stop_brings_what_is_done(tmp_path: Path, executor: Executor) -> None:
    """The job that a drain waited for is at the gateway when the daemon has ended."""
    gateway = StandIn()
    task = gateway.add(prompt="a red cube")
    async with asking(executor, tmp_path, "Sleeping", gateway) as running:
        await running.until((running.scratch / "begun").exists)
        ending = asyncio.create_task(running.end())
        await running.until(lambda: not running.status().get("ready"))
        (running.scratch / "go").touch()
        assert await ending == 0

    assert [result.status for result in task.results.values()] == ["success"]


async def test_the_competition_has_its_own_port(tmp_path: Path) -> None:
    """Where it is switched on there is one more address, with its two pages and no other."""
    api = {"competition": "2025", "competition_host": "127.0.0.1", "competition_port": 0}
    async with living(Running(tmp_path, "Quick", api=api), "http") as running:
        addresses = running.status()["addresses"]
        assert set(addresses) == {"metrics", "api", "competition"}
        async with aiohttp.ClientSession(addresses["competition"]) as judge:
            async with judge.get("/health") as response:
                assert await response.json() == {"status": "healthy"}
            async with judge.get("/status") as response:
                assert response.status == 404


async def test_one_intake_is_enough(tmp_path: Path) -> None:
    """The HTTP API alone needs no hotkey, and opens no axon."""
    running = Running(tmp_path, "Quick")
    lines = running.settings.read_text().splitlines(keepends=True)
    running.settings.write_text("".join(x for x in lines if not x.startswith("hotkey_file")))
    async with living(running, "http"):
        status = running.status()
        assert set(status["addresses"]) == {"metrics", "api"}
        assert status["hotkey"] is None


@pytest.mark.parametrize(
    ("top", "key"),
    [
        ("intakes = []", "intakes"),
        ('intakes = ["axom"]', "intakes"),
        ('intakes = ["gateway"]', "gateway.urls"),
    ],
)
async def test_a_choice_that_cannot_be_is_refused(tmp_path: Path, top: str, key: str) -> None:
    """No intake, one that there is not, and gateways without an address end the start with 78."""
    running = Running(tmp_path, "Quick")
    running.settings.write_text(f"{top}\n{running.settings.read_text()}")
    await running.start(ready=False)
    assert running.process is not None

    assert await asyncio.wait_for(running.process.wait(), 30) == 78
    said = [x for x in running.log.read_text().splitlines() if x.startswith("miner:")]
    assert len(said) == 1
    assert key in said[0]


def test_intakes_come_from_the_environment_as_json() -> None:
    """As other lists do."""
    environ = {"MINER_INTAKES": '["pull", "http"]'}
    assert load(environ=environ).settings.daemon.intakes == ("pull", "http")
