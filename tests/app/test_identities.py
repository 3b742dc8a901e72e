"""Several hotkeys in one daemon: each serves for itself, and a fault of one is its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from miner.app.identities import Identities
from miner.errors import BindError, ChainError, ControlError, MinerError
from miner.network.control_client import ask
from miner.network.dendrite import Dendrite
from miner.network.protocol import Generate3D, TGPoll, TGTask
from tests.app.running import VALIDATOR
from tests.app.several import Several, several
from tests.app.traffic import OPEN

TWO = {"alpha": "axon.port = 0", "beta": "axon.port = 0"}


class FakeIdentity:
    """Falls with each of ``errors`` in turn, then runs on."""

    def __init__(self, name: str, *errors: BaseException, reasons: tuple[str, ...] = ()) -> None:
        self.name = name
        self.errors = list(errors)
        self.lives = 0
        self.fallen: list[str] = []
        self.opened = asyncio.Event()
        self.says = reasons

    async def run(self) -> None:
        self.lives += 1
        if self.errors:
            raise self.errors.pop(0)
        self.opened.set()
        await asyncio.Event().wait()

    def fell(self, reason: str) -> None:
        self.fallen.append(reason)
        self.opened.set()

    def reasons(self) -> list[str]:
        return list(self.says)


@asynccontextmanager
async def kept(*identities: FakeIdentity) -> AsyncIterator[list[float]]:
    """Keeps them until the block ends; the waits so far."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    keeper = Identities(identities, lambda: 0.0, sleep)  # type: ignore[arg-type]
    task = asyncio.create_task(keeper.run())
    await keeper.opened()
    for _ in range(20):
        await asyncio.sleep(0)
    try:
        yield waits
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_one_that_falls_is_begun_again_alone() -> None:
    """With waits that double; the other one's life goes on."""
    group = ExceptionGroup("parts", [ValueError("a bug"), ChainError("gone")])
    ill, well = FakeIdentity("ill", BindError("taken"), group, OSError()), FakeIdentity("well")
    async with kept(ill, well) as waits:
        assert (ill.lives, well.lives) == (4, 1)

    assert ill.fallen == ["taken", "gone", "OSError()"]
    assert waits == [1.0, 2.0, 4.0]
    assert well.fallen == []


class FailsAtTheEnd(FakeIdentity):
    """A part of it fails while it is being ended, which hides that it was cancelled."""

    async def run(self) -> None:
        try:
            await super().run()
        except asyncio.CancelledError:
            raise ExceptionGroup("parts", [ValueError("late")]) from None


async def test_one_that_fails_while_it_is_ended_is_not_begun_again() -> None:
    """The daemon stops, and does not wait for it for ever."""
    late, well = FailsAtTheEnd("late"), FakeIdentity("well")
    keeper = Identities([late, well], lambda: 0.0)  # type: ignore[list-item]
    task = asyncio.create_task(keeper.run())
    await keeper.opened()
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)

    assert task.done()
    assert (late.lives, late.fallen) == (1, [])


async def test_the_only_one_takes_the_daemon_with_it() -> None:
    """Then whoever runs the daemon restarts it, as with any other part of it."""
    alone = FakeIdentity("main", BindError("taken"))
    keeper = Identities([alone], lambda: 0.0)  # type: ignore[list-item]
    with pytest.raises(ExceptionGroup) as caught:
        await keeper.run()

    assert caught.group_contains(MinerError, match="taken")
    assert alone.fallen == []


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        ([("not registered",)], ["not registered"]),
        ([("not registered",), ()], []),
        ([("no port",), ("no chain",)], ["identity 0: no port", "identity 1: no chain"]),
    ],
)
async def test_new_work_is_taken_while_one_takes_it(
    said: list[tuple[str, ...]], reasons: list[str]
) -> None:
    """The daemon is ready for as long as one identity is."""
    them = [FakeIdentity(str(number), reasons=each) for number, each in enumerate(said)]

    assert Identities(them, lambda: 0.0).reasons() == reasons  # type: ignore[arg-type]


async def test_each_serves_under_its_own_hotkey(tmp_path: Path) -> None:
    """The same task of one validator is done for both, differently, and told to each of its own."""
    async with several(tmp_path, TWO) as (running, dendrite):
        task = TGTask(prompt="a mug", task_id="t")
        taken = [await running.call(dendrite, name, task) for name in TWO]
        ended = [await to_end(running, dendrite, name, "t") for name in TWO]
        other = {"alpha": "beta", "beta": "alpha"}
        astray = [
            await dendrite.call(running.server(name), running.hotkeys[other[name]], Generate3D())
            for name in TWO
        ]
        ready = 'miner_identity_ready{identity="beta"} 1.0'
        await running.until(lambda: ready in running.page())  # gauges are read now and then
        page = running.page()

    assert [one.status for one in taken] == ["IN QUEUE"] * 2
    assert [one.status for one in ended] == ["DONE"] * 2
    assert ended[0].results != ended[1].results
    assert [one.dendrite.status_code for one in astray] == [401, 401]
    for name in TWO:
        assert f'miner_jobs_accepted_total{{identity="{name}",intake="tgtask"}} 1.0' in page
        assert f'miner_requests_rejected_total{{code="not_verified",identity="{name}"}} 1.0' in page


async def test_a_taken_port_is_one_identitys_trouble(tmp_path: Path) -> None:
    """The others serve, all pages say whose trouble it is, and it serves once the port is free."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        running = Several(tmp_path, {"alpha": "axon.port = 0", "beta": f"axon.port = {port}"})
        await running.start()
        try:
            async with Dendrite(VALIDATOR) as dendrite:
                made = await running.call(dendrite, "alpha", Generate3D(prompt="a mug"))
            beta, status = running.identity("beta"), running.status()
            await running.until(lambda: 'miner_identity_ready{identity="beta"} 0' in running.page())
            holder.close()
            await running.until(lambda: bool(running.identity("beta").get("ready")))
            failures = 'miner_identity_failures_total{identity="beta"}'
            assert failures in running.page()
        finally:
            await running.end()

    assert made.dendrite.status_code == 200
    assert status["ready"] and running.hotkeys["alpha"] == status["hotkey"]
    assert not beta["ready"]
    assert f"cannot listen on 127.0.0.1:{port}" in beta["reasons"][0]


async def test_promises_of_each_outlive_the_daemon(tmp_path: Path) -> None:
    """Kill -9 with tasks of both in hand: the next life does them, each for its own identity."""
    async with several(tmp_path, TWO, "Sleeping") as (running, dendrite):
        tasks = [(name, f"t{number}") for number in range(4) for name in TWO]
        for name, task in tasks:
            await running.call(dendrite, name, TGTask(prompt=f"thing {task}", task_id=task))
        await running.end(signal.SIGKILL)
        (running.scratch / "go").touch()
        await running.start()
        ended = [await to_end(running, dendrite, name, task) for name, task in tasks]

        assert {one.status for one in ended} == {"DONE"}
        assert running.outcomes() == {"done": 8}


async def test_a_reload_is_of_each(tmp_path: Path) -> None:
    """What one's table says of admission holds at once, for that one alone."""
    async with several(tmp_path, TWO) as (running, dendrite):
        running.write({**TWO, "beta": "axon.port = 0\nadmission.min_stake = 1e9\nshare = 3.0"})
        report = ask(running.state_dir, "POST", "reload", 30.0)
        made = {
            name: (await running.call(dendrite, name, Generate3D(prompt="a"))).dendrite.status_code
            for name in TWO
        }
        running.write({**TWO, "gamma": "axon.port = 0"})
        (tmp_path / "key-gamma").write_bytes((tmp_path / "key-alpha").read_bytes())
        gone = ask(running.state_dir, "POST", "reload", 30.0)

    assert report["applied"] == ["identity.beta.admission.min_stake", "identity.beta.share"]
    assert made == {"alpha": 200, "beta": 403}
    assert gone["waiting"] == ["identity.gamma"]


async def test_a_reload_that_fails_is_of_nobody(tmp_path: Path) -> None:
    """A file of peers that is not there keeps the new settings of all from holding."""
    async with several(tmp_path, TWO) as (running, dendrite):
        missing = f'axon.port = 0\nchain.network = "static:{tmp_path}/nobody.toml"'
        running.write({"alpha": "axon.port = 0\nadmission.min_stake = 1e9", "beta": missing})
        with pytest.raises(ControlError, match="nobody"):
            ask(running.state_dir, "POST", "reload", 30.0)
        made = await running.call(dendrite, "alpha", Generate3D(prompt="a"))

    assert made.dendrite.status_code == 200


async def test_one_hotkey_cannot_serve_twice(tmp_path: Path) -> None:
    """Two identities of one key would answer every request twice: the start says so and ends."""
    running = Several(tmp_path, TWO)
    (tmp_path / "key-beta").write_bytes((tmp_path / "key-alpha").read_bytes())
    await running.start(ready=False)
    assert running.process is not None
    async with asyncio.timeout(60):
        code = await running.process.wait()

    assert code == 78
    assert "identities alpha and beta have the same hotkey" in running.log.read_text()


async def to_end(running: Several, dendrite: Dendrite, name: str, task: str) -> TGPoll:
    """Polls an identity's task to its end."""
    async with asyncio.timeout(60):
        polled = await running.call(dendrite, name, TGPoll(task_id=task))
        while polled.status in (*OPEN, None):
            await asyncio.sleep(0.05)
            polled = await running.call(dendrite, name, TGPoll(task_id=task))
    return polled
