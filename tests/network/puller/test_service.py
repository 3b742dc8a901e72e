"""The puller with everything real but the GPU: sockets, signatures, journal, queue, splats."""

from __future__ import annotations

import asyncio
import io
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from PIL import Image

from miner import encoder
from miner.admission.peers import Peer, PeersSnapshot
from miner.admission.signature import new_hotkey
from miner.executor import OnProgress
from miner.job import MAIN, Asset, Job
from miner.job_queue import JobQueue
from miner.journal import Journal, Partition
from miner.metrics import Metrics
from miner.network.dendrite import Dendrite
from miner.network.puller import Puller, PullParts
from miner.network.subnet import ImageTask, SubnetTask, TextTask
from miner.settings.daemon import JournalSettings, QueueSettings
from miner.settings.pull import PullSettings
from miner.validator.ledger import Ledger
from miner.validator.rules import Rules, Verdict
from miner.validator.serve import serve_validator
from miner.validator.service import ValidatorService
from tests.network.miner_rig import FakeExecutor
from tests.validator.rig import MINER, sound_splat

RULES = Rules(cooldown_seconds=2, penalty_seconds=2, throttle_seconds=1, lock_seconds=1)
SETTINGS = PullSettings(margin_seconds=0.1, retry_seconds=1.0, lost_reply_seconds=3.0)
SPLAT = encoder.encode(sound_splat(), "spz")
TASKS = 3


class Executor(FakeExecutor):
    """Gives every job the same splat, which passes the validators' gate."""

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        await super().submit(job, on_progress)
        return Asset(SPLAT, "spz", 7000, "stub", {})


def nth_task(number: int) -> SubnetTask | None:
    """Two texts and a picture."""
    if number >= TASKS:
        return None
    if number == 1:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
        return ImageTask(id=f"task-{number}", prompt=b64encode(buffer.getvalue()).decode())
    return TextTask(id=f"task-{number}", prompt=f"une théière  n° {number}\t")


@asynccontextmanager
async def validators(count: int) -> AsyncIterator[tuple[PeersSnapshot, list[Ledger]]]:
    """So many on sockets, and who they are."""
    async with AsyncExitStack() as stack:
        us = Peer(MINER.ss58_address, 0, 0.0, False)
        peers, ledgers = [us], []
        for number in range(count):
            keypair = new_hotkey(bytes([number + 50]) * 32)
            ledger = Ledger(nth_task, {us.hotkey: 0}.get, RULES)
            service = ValidatorService(keypair.ss58_address, ledger, lambda: PeersSnapshot.of(us))
            listening = await stack.enter_async_context(
                serve_validator(keypair, service, lambda: PeersSnapshot.of(us))
            )
            address = f"{listening.host}:{listening.port}"
            peers.append(Peer(keypair.ss58_address, number + 1, 5000.0, True, axon=address))
            ledgers.append(ledger)
        yield PeersSnapshot.of(*peers), ledgers


@asynccontextmanager
async def a_life(
    folder: Path, peers: PeersSnapshot, executor: Executor, metrics: Metrics
) -> AsyncIterator[Puller]:
    """One life of the miner, ended by cancelling it."""
    async with (
        await Journal.open(folder, JournalSettings()) as journal,
        Dendrite(MINER) as dendrite,
    ):
        queue = JobQueue(executor, journal, QueueSettings(), metrics)
        await queue.resume()
        parts = PullParts(
            *(MINER, dendrite, queue, executor, Partition(journal, MAIN)),
            *(lambda: peers, metrics.of(MAIN)),
        )
        puller = Puller(parts, SETTINGS, 7200.0)
        tasks = [asyncio.create_task(queue.run()), asyncio.create_task(puller.run())]
        try:
            yield puller
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                assert task.cancelled(), task.exception()


async def until(condition: object, seconds: float = 40.0) -> None:
    """Returns when ``condition()`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - sockets are waited for
            await asyncio.sleep(0.05)


async def test_texts_and_pictures_are_pulled_and_accepted_over_a_restart(tmp_path: Path) -> None:
    """All tasks of two validators, with the miner ended in the middle of the first: none lost."""
    metrics, executor = Metrics(), Executor()
    async with validators(2) as (peers, ledgers):
        executor.go.clear()
        async with a_life(tmp_path, peers, executor, metrics):
            await until(lambda: executor.begun)
        executor = Executor()
        async with a_life(tmp_path, peers, executor, metrics) as puller:
            await until(
                lambda: all(
                    len(ledger.state.records) == TASKS
                    and all(record.verdict for record in ledger.state.records.values())
                    for ledger in ledgers
                )
            )
            lines = puller.report()

    for ledger in ledgers:
        records = ledger.state.records.values()
        assert [record.verdict for record in records] == [Verdict.ACCEPTED] * TASKS
        assert {record.endings for record in records} == {1}
        assert ledger.state.miners[MINER.ss58_address].early_pulls == 0
    assert [line["tasks"] for line in lines] == [TASKS, TASKS]
    value = metrics.registry.get_sample_value
    assert value("miner_submissions_total", {"identity": MAIN, "outcome": "accepted"}) == 2 * TASKS
    assert value("miner_submission_score_count", {"identity": MAIN}) == 2 * TASKS
    hotkey = lines[0]["hotkey"]
    assert value("miner_validator_duel_rating", {"identity": MAIN, "validator": hotkey}) == 1500.0
