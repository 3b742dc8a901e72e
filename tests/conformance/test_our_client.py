"""Our client gets from the official servers what the official client gets."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bittensor_core import Keypair

from miner.network.dendrite import Dendrite
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import Synapse
from tests.conformance.conftest import Officials
from tests.conformance.environments import INSTALL_SECONDS, REQUIREMENTS
from tests.conformance.our_miner import DENIED, VALIDATOR, hotkey_of
from tests.conformance.peers import OfficialServer
from tests.conformance.seen import outcome
from tests.fakes.ports import closed_port

pytestmark = pytest.mark.timeout(INSTALL_SECONDS * 2)


class Unheard(Synapse):
    """A message that no miner of these tests serves."""

    prompt: str = ""


MESSAGES = {kind.__name__: kind for kind in (Generate3D, TGTask, TGPoll, Unheard)}

CASES: dict[str, dict[str, Any]] = {
    "a prompt": {"prompt": "a cube", "seed": 7, "format": "ply"},
    "a picture": {"image": "QUJD" * 1_000_000},
    "unicode": {"prompt": 'Würfel 立方体 \U0001f9ca \u2028 \x00 " \\ \n'},
    "60 MB of results": {"prompt": "bytes 60000000"},
    "a required field": {"message": "TGTask", "prompt": "a cube", "task_id": "é"},
    "results of a task": {"message": "TGPoll", "task_id": "1"},
    "denied": {"prompt": "a cube", "_key": DENIED},
    "failing handler": {"prompt": "fail"},
    "unknown message": {"message": "Unheard", "prompt": "a cube"},
    "too slow": {"prompt": "sleep 30", "_timeout": 0.3},
}


@pytest.fixture
async def ours() -> AsyncIterator[Dendrite]:
    """Our client as the validator of these tests."""
    async with Dendrite(Keypair.create_from_uri(VALIDATOR)) as dendrite:
        yield dendrite


async def by_us(server: OfficialServer, **case: Any) -> dict[str, Any]:
    """What our client gets."""
    kind = MESSAGES[case.pop("message", "Generate3D")]
    keypair = Keypair.create_from_uri(case.pop("_key", VALIDATOR))
    timeout = case.pop("_timeout", 20.0)
    async with Dendrite(keypair) as dendrite:
        address = f"127.0.0.1:{server.port}"
        answer = await dendrite.call(address, server.hotkey, kind(**case), timeout)
    return answer.model_dump()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_the_same_answer_as_by_the_official_client(
    officials: Officials, version: str, case: str
) -> None:
    """Status, text and content equal what the release's own client gets of its own server."""
    server, client = officials.server(version), officials.client(version)
    arguments = {"message": "Generate3D", **CASES[case]}

    theirs = await asyncio.to_thread(client.call, server.port, server.hotkey, **arguments)
    by_ours = await by_us(server, **CASES[case])

    assert outcome(by_ours) == outcome(theirs)


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_a_closed_port_is_unavailable(officials: Officials, version: str) -> None:
    """Nobody listening is 503 with the official text."""
    client, hotkey = officials.client(version), hotkey_of("//Miner")

    with closed_port() as port:
        theirs = await asyncio.to_thread(client.call, port, hotkey, "Generate3D", prompt="a cube")
        async with Dendrite(Keypair.create_from_uri(VALIDATOR)) as dendrite:
            synapse = Generate3D(prompt="a cube")
            by_ours = await dendrite.call(f"127.0.0.1:{port}", hotkey, synapse, timeout=20.0)

    assert outcome(by_ours.model_dump()) == outcome(theirs)


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_calls_at_once_are_all_verified(
    officials: Officials, ours: Dendrite, version: str
) -> None:
    """However requests overtake each other none is taken for a replay: each has its own uuid."""
    server = officials.server(version)
    address = f"127.0.0.1:{server.port}"

    answers = await asyncio.gather(
        *(ours.call(address, server.hotkey, Generate3D(prompt=str(n))) for n in range(60))
    )

    texts = [base64.b64decode(answer.results or "").decode() for answer in answers]
    assert texts == [str(n) for n in range(60)]


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_a_request_for_another_miner_is_refused(
    officials: Officials, ours: Dendrite, version: str
) -> None:
    """The signature covers the receiver."""
    server = officials.server(version)

    answer = await ours.call(
        f"127.0.0.1:{server.port}", hotkey_of("//Stranger"), Generate3D(prompt="a cube")
    )

    assert answer.dendrite.status_code == 401


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_a_clock_that_is_late_is_told(officials: Officials, version: str) -> None:
    """A nonce of two minutes ago is refused with the reason, which our caller gets to see."""
    server = officials.server(version)
    keypair = Keypair.create_from_uri(VALIDATOR)
    async with Dendrite(keypair, wall_clock_ns=lambda: time.time_ns() - 120 * 10**9) as late:
        answer = await late.call(
            f"127.0.0.1:{server.port}", server.hotkey, Generate3D(prompt="a cube")
        )

    assert answer.dendrite.status_code == 401
    assert "Nonce is too old" in (answer.dendrite.status_message or "")
