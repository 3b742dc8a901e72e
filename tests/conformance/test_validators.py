"""The pull protocol across implementations: an official miner at our validator, and the reverse."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bittensor_core import Keypair

from miner.admission.peers import Peer, PeersSnapshot
from miner.network.dendrite import Dendrite
from miner.network.subnet import PullTask, SubmitResults, SubnetTask, TextTask, submission_message
from miner.validator.ledger import Ledger
from miner.validator.serve import serve_validator
from miner.validator.service import ValidatorService
from miner.validator.tasks import TaskList
from tests.conformance.conftest import Officials
from tests.conformance.environments import INSTALL_SECONDS, REQUIREMENTS
from tests.conformance.our_miner import MINER, VALIDATOR, hotkey_of
from tests.conformance.relay import OfficialValidator, behind_official_axon
from tests.validator.rig import START, WallClock, sound_results

pytestmark = [pytest.mark.timeout(INSTALL_SECONDS * 2), pytest.mark.long]

STRANGER = "//Stranger"
NOW = int(START)
PICTURE = bytes(range(256)) * 4000
TASKS = TaskList(["a red cube", 'Würfel 立方体 "\\'], [PICTURE], text_share=0.5)


def new_service(clock: WallClock) -> ValidatorService:
    """A validator that knows the miner of these tests."""
    peers = PeersSnapshot.of(
        Peer(hotkey=hotkey_of(MINER), uid=1, stake=0.0, validator_permit=False)
    )
    uids = {peer.hotkey: peer.uid for peer in peers.peers.values()}
    ledger = Ledger(TASKS, uids.get, clock=clock)
    return ValidatorService(hotkey_of(VALIDATOR), ledger, lambda: peers)


def signed(task: SubnetTask, results: str | None = None) -> dict[str, Any]:
    """The fields of the miner's submission."""
    submit_time = 1_760_000_000_000_000_000
    message = submission_message(submit_time, task.prompt, hotkey_of(VALIDATOR), hotkey_of(MINER))
    signature: bytes = Keypair.create_from_uri(MINER).sign(message)
    return {
        "task_id": task.id,
        "results": sound_results() if results is None else results,
        "submit_time": submit_time,
        "signature": b64encode(signature).decode(),
    }


class OfficialMiner:
    """The official client of a release as a miner of our validator."""

    def __init__(self, officials: Officials, version: str, port: int) -> None:
        self._client = officials.client(version)
        self._port = port

    async def call(self, message: str, key: str = MINER, **fields: Any) -> dict[str, Any]:
        """All that its caller gets to see."""
        validator = hotkey_of(VALIDATOR)
        fields["_key"] = key
        return await asyncio.to_thread(self._client.call, self._port, validator, message, **fields)


@asynccontextmanager
async def at_our_validator(
    officials: Officials, version: str
) -> AsyncIterator[tuple[OfficialMiner, ValidatorService, WallClock]]:
    """An official miner, and the validator it may call."""
    clock = WallClock()
    service = new_service(clock)
    keypair = Keypair.create_from_uri(VALIDATOR)
    async with serve_validator(keypair, service, PeersSnapshot.of) as listening:
        yield OfficialMiner(officials, version, listening.port), service, clock


def assigned(service: ValidatorService) -> SubnetTask:
    """What the miner is to do; the client shortens long texts on its way to the test."""
    task = service.ledger.state.miners[hotkey_of(MINER)].task
    assert task is not None
    return task


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_an_official_miner_works_for_our_validator(
    officials: Officials, version: str
) -> None:
    """Text and picture: pulled, submitted, accepted; feedback and cooldown arrive."""
    async with at_our_validator(officials, version) as (miner, service, clock):
        for kind in ("text", "image", "text"):
            pulled = await miner.call("PullTask")
            task = assigned(service)
            reply = await miner.call("SubmitResults", **signed(task))
            early = await miner.call("PullTask")
            clock.now = float(reply["cooldown_until"])

            assert pulled["dendrite"]["status_code"] == 200
            assert pulled["task"]["type"] == kind
            assert pulled["task"]["id"] == task.id
            if kind == "text":
                assert pulled["task"]["prompt"] == task.prompt
            else:
                assert pulled["task"]["prompt"]["length"] == len(task.prompt)
            assert (pulled["validation_threshold"], pulled["throttle_period"]) == (0.6, 30)
            assert reply["feedback"]["task_fidelity_score"] == 1.0
            assert (reply["results"], reply["signature"]) == ("", "")
            assert (early["task"], early["cooldown_until"]) == (None, reply["cooldown_until"])


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_an_official_miner_understands_our_refusals(
    officials: Officials, version: str
) -> None:
    """No task: 403. A signature that is none: 500. A stranger: an hour. Other tasks: feedback."""
    async with at_our_validator(officials, version) as (miner, service, _):
        none = await miner.call("SubmitResults", **signed(TextTask(id="x", prompt="x")))
        await miner.call("PullTask")
        task = assigned(service)
        broken = await miner.call("SubmitResults", **signed(task) | {"signature": "%"})
        stranger = await miner.call("PullTask", STRANGER)
        other = await miner.call("SubmitResults", **signed(TextTask(id="x", prompt="x")))
        version_reply = await miner.call("GetVersion")

    statuses = [reply["dendrite"]["status_code"] for reply in (none, broken, stranger, other)]
    assert statuses == [403, 500, 200, 200]
    assert "Forbidden. Key is blacklisted" in none["dendrite"]["status_message"]
    assert stranger["cooldown_until"] == NOW + 3600
    assert other["feedback"]["task_fidelity_score"] == 0.0
    assert version_reply["dendrite"]["status_code"] == 403


@asynccontextmanager
async def official_validator(
    officials: Officials, version: str, folder: Path
) -> AsyncIterator[tuple[OfficialValidator, ValidatorService, WallClock]]:
    """Our validator behind the official server of a release."""
    officials.client(version)  # skips where the release cannot be had
    clock = WallClock()
    service = new_service(clock)
    log = folder / "validator.log"
    async with behind_official_axon(service, version, VALIDATOR, log) as process:
        yield process, service, clock


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_our_client_works_for_a_validator_on_the_official_server(
    officials: Officials, version: str, tmp_path: Path
) -> None:
    """Text and picture: pulled, submitted, accepted; feedback and cooldown arrive."""
    async with (
        official_validator(officials, version, tmp_path) as (validator, service, clock),
        Dendrite(Keypair.create_from_uri(MINER)) as dendrite,
    ):
        address = f"127.0.0.1:{validator.port}"
        for kind in ("text", "image"):
            pulled = await dendrite.call(address, validator.hotkey, PullTask())
            assert pulled.task is not None
            result = SubmitResults(**signed(pulled.task))
            reply = await dendrite.call(address, validator.hotkey, result, 60.0)
            early = await dendrite.call(address, validator.hotkey, PullTask())
            clock.now = float(reply.cooldown_until)

            assert pulled.task.type == kind
            assert reply.feedback is not None
            assert reply.feedback.task_fidelity_score == 1.0
            assert (early.task, early.cooldown_until) == (None, reply.cooldown_until)

    verdicts = [record.verdict for record in service.ledger.state.records.values()]
    assert verdicts == ["accepted", "accepted"]


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_our_client_understands_the_official_servers_refusals(
    officials: Officials, version: str, tmp_path: Path
) -> None:
    """No task: 403, before the body is read. A signature that is none: 500. A stranger: an hour."""
    async with (
        official_validator(officials, version, tmp_path) as (validator, *_),
        Dendrite(Keypair.create_from_uri(MINER)) as dendrite,
        Dendrite(Keypair.create_from_uri(STRANGER)) as stranger,
    ):
        address, hotkey = f"127.0.0.1:{validator.port}", validator.hotkey
        nothing = SubmitResults(**signed(TextTask(id="x", prompt="x")))
        none = await dendrite.call(address, hotkey, nothing)
        pulled = await dendrite.call(address, hotkey, PullTask())
        assert pulled.task is not None
        broken = SubmitResults(**signed(pulled.task) | {"signature": "%"})
        fault = await dendrite.call(address, hotkey, broken)
        strange = await stranger.call(address, hotkey, PullTask())
        other = await dendrite.call(address, hotkey, nothing)

    statuses = [reply.dendrite.status_code for reply in (none, fault, strange, other)]
    assert statuses == [403, 500, 200, 200]
    assert strange.cooldown_until == NOW + 3600
    assert other.feedback is not None
    assert other.feedback.task_fidelity_score == 0.0
