"""Our puller at work for a validator on the official server."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from bittensor_core import Keypair
from PIL import Image

from miner.admission.peers import Peer, PeersSnapshot
from miner.executor import OnProgress
from miner.job import Asset, Job
from miner.job_queue import JobQueue
from miner.network.dendrite import Dendrite
from miner.network.puller import Puller, PullParts
from miner.settings.daemon import QueueSettings
from miner.settings.pull import PullSettings
from miner.validator.ledger import Ledger
from miner.validator.rules import Rules
from miner.validator.service import ValidatorService
from miner.validator.tasks import TaskList
from tests.conformance.conftest import Officials
from tests.conformance.environments import INSTALL_SECONDS, REQUIREMENTS
from tests.conformance.our_miner import MINER, VALIDATOR, hotkey_of
from tests.conformance.relay import OfficialValidator, behind_official_axon
from tests.network.puller.world import Disk, Gpu, Journal, PullCounters
from tests.validator.rig import sound_results

pytestmark = pytest.mark.timeout(INSTALL_SECONDS * 2)

TASKS = 3
DONE_SECONDS = 60.0
RULES = Rules(cooldown_seconds=1, throttle_seconds=1, penalty_seconds=1, lock_seconds=0)


class SoundGpu(Gpu):
    """Makes the same sound splat of everything, at once."""

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        self.begun.append(job)
        return Asset(b64decode(sound_results()), "spz", 7000, "stub", {})


def png() -> bytes:
    """A small picture."""
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


async def work(validator: OfficialValidator, done: asyncio.Event) -> None:
    """A miner pulls and submits until the validator has seen enough."""
    peer = Peer(
        hotkey=validator.hotkey,
        uid=0,
        stake=5000.0,
        validator_permit=True,
        axon=f"127.0.0.1:{validator.port}",
    )
    disk, metrics = Disk(), PullCounters()
    gpu, journal = SoundGpu(disk), Journal(disk)
    queue = JobQueue(gpu, journal, QueueSettings(), metrics)
    keypair = Keypair.create_from_uri(MINER)
    async with Dendrite(keypair) as dendrite, asyncio.timeout(DONE_SECONDS):
        parts = PullParts(
            keypair, dendrite, queue, gpu, journal, lambda: PeersSnapshot.of(peer), metrics
        )
        puller = Puller(parts, PullSettings(retry_seconds=1.0, margin_seconds=0.0), 7200.0)
        running = [asyncio.create_task(part.run()) for part in (queue, puller)]
        try:
            await done.wait()
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_all_tasks_are_accepted(officials: Officials, version: str, tmp_path: Path) -> None:
    """Texts and a picture, one after the other: each pulled once, accepted once, none too early."""
    officials.client(version)  # skips where the release cannot be had
    done = asyncio.Event()
    source = TaskList(["a red cube", "Würfel"], [png()], count=TASKS, text_share=0.5)
    ledger = Ledger(source, {hotkey_of(MINER): 1}.get, RULES)

    def changed() -> None:
        records = ledger.state.records.values()
        if sum(record.verdict is not None for record in records) == TASKS:
            done.set()

    service = ValidatorService(hotkey_of(VALIDATOR), ledger, PeersSnapshot.of, changed=changed)
    log = tmp_path / "validator.log"
    async with behind_official_axon(service, version, VALIDATOR, log) as validator:
        await work(validator, done)

    records = list(ledger.state.records.values())
    account = ledger.state.miners[hotkey_of(MINER)]
    assert [record.verdict for record in records] == ["accepted"] * TASKS
    assert [record.kind for record in records].count("image") == 1
    assert [(record.pulls, record.endings) for record in records] == [(1, 1)] * TASKS
    assert account.early_pulls == 0
