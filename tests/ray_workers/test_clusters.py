"""What becomes of the executor when whole clusters come, go, or do not fit; on real ones."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from miner.errors import StartupError
from miner.ray_workers.executor import RayExecutor
from tests.app.running import calling, daemon
from tests.app.traffic import endings, push_all
from tests.fakes.ports import closed_port
from tests.fakes.workers import Metrics, Time, alive, until
from tests.ray_workers.clusters import ROOT, cluster, needs_ray, on_ray, settings_for

pytestmark = [needs_ray, pytest.mark.long]


async def test_a_cluster_of_this_host_alone(tmp_path: Path) -> None:
    """Started by us it listens on loopback only, and nothing of it is left when we end."""
    others = descendants(os.getpid())
    async with on_ray("Quick", tmp_path, "", workers=2) as made:
        await made.until_ready(2)
        answers = [await made.make("a", seed) for seed in range(3)]
        pids = [one.pid for one in made.workers() if one.pid]
        family = set(descendants(os.getpid())) - set(others)
        addresses = {address for pid in family for address in listening(pid)}
        names = {name_of(pid) for pid in family}

    assert answers == [b"a 0", b"a 1", b"a 2"]
    assert "raylet" in names
    assert addresses
    assert all(address.startswith("127.") for address in addresses)
    await until(lambda: not any(alive(pid) for pid in [*family, *pids]))


async def test_a_reload_goes_round_and_comes_back(tmp_path: Path) -> None:
    """New settings replace one after the other; those that do not warm up leave all as before."""
    async with on_ray("Planned", tmp_path, "", workers=2) as made:
        await made.until_ready(2)
        settings = settings_for(tmp_path, "", workers=2)

        def within(mode: str) -> object:
            memory = settings.preset.memory.model_copy(update={"precision": mode})
            preset = settings.preset.model_copy(update={"memory": memory})
            return settings.model_copy(update={"preset": preset})

        await made.executor.reload(within("bf16"))  # type: ignore[arg-type]
        after = await made.make("x")
        with pytest.raises(StartupError, match="no kernel for int8"):
            await made.executor.reload(within("int8"))  # type: ignore[arg-type]
        await made.until_ready(2)
        back = [await made.make("x") for _ in range(2)]

    assert after == b"bf16"
    assert back == [b"bf16", b"bf16"]


async def test_a_slow_worker_is_replaced(tmp_path: Path) -> None:
    """What takes ten times as long as the others is drained and replaced; no job is lost."""
    async with on_ray("OneSlow", tmp_path, "", workers=3, slow_jobs=3) as made:
        await made.until_ready(3)
        answers = await asyncio.gather(*(made.make("a", seed) for seed in range(80)))
        await made.until_ready(3)

    assert answers == [f"a {seed}".encode() for seed in range(80)]
    assert made.metrics.restarts["slow"] == 1


async def test_a_head_that_restarts(tmp_path: Path) -> None:
    """Without a head the daemon is not ready; with a new one every task it took is done."""
    with cluster(nodes=1) as nodes:
        ray = {"address": nodes.address, "silence_seconds": 5.0}
        worker = {"executor": "ray", "hang_seconds": 20.0}
        async with daemon(tmp_path, "Sleeping", worker=worker, ray=ray) as running:
            async with calling(running) as caller:
                taken = await push_all(caller, [f"thing {n}" for n in range(5)])
                await running.until((running.scratch / "begun").exists)
                nodes.close()
                await running.until(lambda: running.status().get("ready") is False)
                (running.scratch / "go").touch()
                nodes.restart()
                nodes.add()
                ended = await endings(caller, taken)

            assert ended == {"DONE": 5}
            assert running.outcomes() == {"done": 5}
            assert running.status()["ready"]


async def test_other_versions_are_refused(tmp_path: Path) -> None:
    """A node with another version of this program does not get a job, and both are named."""
    other = tmp_path / "other" / "miner"
    other.mkdir(parents=True)
    for entry in (ROOT / "miner").iterdir():
        if entry.name not in ("version.py", "__pycache__"):
            (other / entry.name).symlink_to(entry)
    (other / "version.py").write_text('VERSION = "0.0.9"\n')
    with cluster(nodes=0) as nodes:
        nodes.add(env_vars={"PYTHONPATH": f"{other.parent}:{ROOT}"})
        with pytest.raises(StartupError, match=r"miner 0\.0\.9 there, .* here"):
            async with on_ray("Quick", tmp_path, nodes.address):
                raise AssertionError


async def test_no_cluster_at_all(tmp_path: Path) -> None:
    """An address where no head answers ends the start, with a word that names it."""
    with closed_port() as port:
        address = f"127.0.0.1:{port}"
        settings = settings_for(tmp_path, address, start_seconds=3.0)
        with pytest.raises(StartupError, match=f"no Ray cluster at {address}"):
            async with RayExecutor(settings, Metrics(Time())):
                raise AssertionError


def descendants(pid: int) -> list[int]:
    """Every process that a process has started, and what they have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found += [int(child), *descendants(int(child))]
    return found


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens for TCP."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = str(link.readlink()) if link.is_symlink() else ""
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").rstrip("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(dotted(fields[1].partition(":")[0]))
    return found


def dotted(word: str) -> str:
    """The address of a line of /proc/net/tcp; IPv4 in IPv6 is written as IPv4."""
    raw = b"".join(bytes.fromhex(word[i : i + 8])[::-1] for i in range(0, len(word), 8))
    if len(raw) == 16 and raw[:12] != bytes(10) + b"\xff\xff":
        return "127.0.0.1" if raw == bytes(15) + b"\x01" else "other"
    return ".".join(map(str, raw[-4:]))
