"""The official clients see of our server what they see of the official one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from miner.errors import MinerError
from miner.settings.admission import AdmissionSettings
from miner.settings.listening import ListenLimits
from tests.conformance.conftest import Officials
from tests.conformance.environments import INSTALL_SECONDS, REQUIREMENTS
from tests.conformance.our_miner import DENIED, REFUSALS, Miner, hotkey_of, our_miner
from tests.conformance.peers import OfficialClient
from tests.conformance.seen import seen

pytestmark = pytest.mark.timeout(INSTALL_SECONDS * 2)

REFERENCE = "10.5.0"
"""Whose server is compared with: earlier ones let unsigned requests pass."""

MEGABYTES = 1_000_000

CASES: dict[str, dict[str, Any]] = {
    "a prompt": {"prompt": "a cube", "seed": 7, "format": "ply"},
    "no field at all": {},
    "a picture": {"image": "QUJD" * 1000, "seed": 2**63 - 1},
    "unicode": {"prompt": 'Würfel 立方体 \U0001f9ca \u2028 \x00 " \\ \n'},
    "a long prompt": {"prompt": "a cube and " * 10_000},
    "60 MB of results": {"prompt": f"bytes {60 * MEGABYTES}"},
    "a required field": {"message": "TGTask", "prompt": "a cube", "task_id": "é"},
    "results of a task": {"message": "TGPoll", "task_id": "1"},
    "unsigned": {"prompt": "a cube", "_spoil": "unsigned"},
    "without nonce": {"prompt": "a cube", "_spoil": "no nonce"},
    "signed by another": {"prompt": "a cube", "_spoil": "wrong key"},
    "changed after signing": {"prompt": "a cube", "_spoil": "changed after signing"},
    "stale": {"prompt": "a cube", "_spoil": "stale"},
    "denied": {"prompt": "a cube", "_key": DENIED},
    "failing handler": {"prompt": "fail"},
    "unknown message": {"message": "Unheard", "prompt": "a cube"},
    "too slow": {"prompt": "sleep 30", "_timeout": 0.3},
}


async def call(client: OfficialClient, miner: Any, **case: Any) -> dict[str, Any]:
    """One call of a case, off this loop, which serves it."""
    arguments = {"message": "Generate3D", **case}
    return await asyncio.to_thread(client.call, miner.port, miner.hotkey, **arguments)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_the_same_answer_as_from_the_official_server(
    officials: Officials, ours: Miner, version: str, case: str
) -> None:
    """Every field of the answer, status and text equals the official server's, case by case."""
    client, official = officials.client(version), officials.server(REFERENCE)

    theirs = await call(client, official, **CASES[case])
    from_us = await call(client, ours, **CASES[case])

    assert seen(from_us) == seen(theirs)


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_a_replay_is_refused_as_by_the_official_server(
    officials: Officials, ours: Miner, version: str
) -> None:
    """A second request with the first one's nonce, uuid and signature gets 401 from both."""
    client, answers = officials.client(version), []
    for miner in (officials.server(REFERENCE), ours):
        assert (await call(client, miner, prompt="a cube"))["dendrite"]["status_code"] == 200
        answers.append(await call(client, miner, prompt="a cube", _spoil="replayed"))

    assert answers[0]["dendrite"]["status_code"] == 401
    assert seen(answers[1]) == seen(answers[0])


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_requests_for_another_hotkey_are_not_verified(
    officials: Officials, ours: Miner, version: str
) -> None:
    """What was signed for another miner is refused with the official status."""
    client, stranger = officials.client(version), hotkey_of("//Stranger")
    for miner in (officials.server(REFERENCE), ours):
        foreign = Miner(miner.port, stranger)

        terminal = (await call(client, foreign, prompt="a cube"))["dendrite"]

        assert terminal["status_code"] == 401
        assert terminal["status_message"].startswith("Not Verified with error: ")


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_a_request_without_hotkey_is_not_verified(
    officials: Officials, ours: Miner, version: str
) -> None:
    """Nobody's request is refused with the official status, in words of our own."""
    client = officials.client(version)
    for miner in (officials.server(REFERENCE), ours):
        terminal = (await call(client, miner, prompt="a cube", _spoil="no hotkey"))["dendrite"]

        assert terminal["status_code"] == 401
        assert terminal["status_message"].startswith("Not Verified with error: ")


@pytest.mark.parametrize("version", REQUIREMENTS)
@pytest.mark.parametrize("wrong", [{"seed": -1}, {"format": "obj"}])
async def test_bad_values_are_the_callers_fault(
    officials: Officials, ours: Miner, version: str, wrong: dict[str, Any]
) -> None:
    """A value out of range gets 400 with the field's name, where the official server says 500."""
    client = officials.client(version)

    terminal = (await call(client, ours, prompt="a cube", **wrong))["dendrite"]

    assert terminal["status_code"] == 400
    assert next(iter(wrong)) in terminal["status_message"]


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_one_client_may_call_again_and_again(
    officials: Officials, ours: Miner, version: str
) -> None:
    """Twenty calls in turn are all answered: nonces of the official client rise as ours must."""
    client = officials.client(version)
    for number in range(20):
        answer = await call(client, ours, prompt=f"cube {number}")

        assert answer["dendrite"]["status_code"] == 200


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_refusals_of_the_queue_arrive_with_status_and_reason(
    officials: Officials, ours: Miner, version: str, refusal: type[MinerError]
) -> None:
    """The official client sees what we refuse as the refusal's status and text on both ends."""
    client = officials.client(version)

    answer = await call(client, ours, prompt=f"refuse {refusal.code}")

    for end in ("axon", "dendrite"):
        assert answer[end]["status_code"] == refusal.status
        assert answer[end]["status_message"] == f"refused: {refusal.code}"


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_a_body_over_the_limit_is_refused_while_it_is_sent(
    officials: Officials, version: str
) -> None:
    """The official client, still sending megabytes, gets to see the 413 and not a broken pipe."""
    client = officials.client(version)
    async with our_miner(limits=ListenLimits(max_body_bytes=MEGABYTES)) as miner:
        answer = await call(client, miner, image="QUJD" * (2 * MEGABYTES))

    assert answer["dendrite"]["status_code"] == 413


@pytest.mark.parametrize("version", REQUIREMENTS)
async def test_too_many_requests_of_a_hotkey_are_told_so(
    officials: Officials, version: str
) -> None:
    """Past its burst the official client sees 429."""
    client = officials.client(version)
    settings = AdmissionSettings(burst_per_hotkey=2, requests_per_second_per_hotkey=0.001)
    async with our_miner(settings) as miner:
        answers = [await call(client, miner, prompt="a cube") for _ in range(3)]

    assert [answer["dendrite"]["status_code"] for answer in answers] == [200, 200, 429]
