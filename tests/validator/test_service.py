"""The validator on a socket, with our own client as its miner."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from contextlib import ExitStack

import pytest

from miner.admission.peers import Peer, PeersSnapshot
from miner.admission.signature import Signer, new_hotkey
from miner.geometry.gaussians import Gaussians
from miner.network.dendrite import Dendrite
from miner.network.subnet import (
    GetVersion,
    ImageTask,
    PullTask,
    SubmitResults,
    SubnetTask,
    TextTask,
)
from miner.settings.pull import OWNER_HOTKEY
from miner.validator.ledger import Ledger
from miner.validator.rules import Verdict
from miner.validator.service import ValidatorService
from miner.validator.tasks import TaskList
from tests.validator.rig import (
    MINER,
    OTHER,
    PEERS,
    START,
    STRANGER,
    VALIDATOR,
    sound_results,
    submission,
    validator_rig,
)

NOW = int(START)


async def test_a_whole_cycle() -> None:
    """Pull, submit, feedback, cooldown, the next task; the reply repeats no result."""
    kept: dict[str, bytes] = {}
    changes: list[None] = []

    def keep(task: SubnetTask, data: bytes) -> None:
        kept[task.id] = data

    async with validator_rig(keep=keep, changed=lambda: changes.append(None)) as rig:
        task = await rig.task()
        reply = await rig.submit(submission(task))
        early = await rig.pull()
        rig.clock.now = float(reply.cooldown_until)
        second = await rig.task()

    assert reply.dendrite.status_code == 200
    assert (reply.results, reply.signature) == ("", "")
    assert reply.feedback is not None
    assert reply.feedback.task_fidelity_score == 1.0
    assert reply.cooldown_until == NOW + 300
    assert (early.task, early.cooldown_violations) == (None, 1)
    assert second.id != task.id
    assert b64encode(kept[task.id]).decode() == sound_results()
    assert len(changes) == 4


async def test_a_picture_is_a_task_like_another() -> None:
    """Its base64 arrives whole and is signed whole."""
    async with validator_rig(tasks=TaskList([], [bytes(range(256)) * 1000])) as rig:
        task = await rig.task()
        reply = await rig.submit(submission(task))

    assert isinstance(task, ImageTask)
    assert reply.feedback is not None
    assert reply.feedback.task_fidelity_score == 1.0


async def test_a_stranger_is_answered() -> None:
    """Not registered: a pull gets 200 and an hour, a submission 403."""
    async with validator_rig() as rig:
        pulled = await rig.pull(STRANGER)
        task = TextTask(id="x", prompt="x")
        reply = await rig.submit(submission(task, signer=STRANGER), STRANGER)

    assert (pulled.dendrite.status_code, pulled.task) == (200, None)
    assert pulled.cooldown_until == NOW + 3600
    assert reply.dendrite.status_code == 403
    assert "blacklisted" in str(reply.dendrite.status_message)


async def test_without_a_task_a_submission_is_forbidden() -> None:
    """As after a restart of a validator that kept nothing."""
    async with validator_rig() as rig:
        reply = await rig.submit(submission(TextTask(id="x", prompt="x")))

    assert (reply.dendrite.status_code, reply.feedback) == (403, None)


async def test_the_id_may_come_inside_a_task() -> None:
    """Older miners send the task in place of its id."""
    async with validator_rig() as rig:
        task = await rig.task()
        result = submission(task).model_copy(update={"task_id": "", "task": task})
        reply = await rig.submit(result)

    assert reply.feedback is not None
    assert reply.feedback.task_fidelity_score == 1.0


async def test_another_id_changes_nothing() -> None:
    """Feedback without a score, and the same task again."""
    async with validator_rig() as rig:
        task = await rig.task()
        reply = await rig.submit(submission(TextTask(id="other", prompt="x")))

        assert await rig.task() == task
    assert reply.feedback is not None
    assert (reply.feedback.task_fidelity_score, reply.cooldown_until) == (0.0, 0)


async def test_a_signature_that_is_no_base64_is_a_500() -> None:
    """The task stays assigned, and the answer has no traceback."""
    async with validator_rig() as rig:
        task = await rig.task()
        reply = await rig.submit(submission(task).model_copy(update={"signature": "%%%"}))

        assert await rig.task() == task
    assert reply.dendrite.status_code == 500


@pytest.mark.parametrize("signer", [OTHER, new_hotkey(b"x" * 32)])
async def test_anothers_signature_is_penalized(signer: Signer) -> None:
    """The transport's signature is the miner's, the submission's is not."""
    async with validator_rig() as rig:
        task = await rig.task()
        reply = await rig.submit(submission(task, signer=signer))

    assert reply.cooldown_until == NOW + 900


async def test_a_result_that_is_none_is_penalized() -> None:
    """Bytes that are no splat: score 0."""
    async with validator_rig() as rig:
        task = await rig.task()
        reply = await rig.submit(submission(task, results="aGVsbG8="))

    assert reply.feedback is not None
    assert not reply.feedback.validation_failed
    assert reply.cooldown_until == NOW + 900


async def test_judging_goes_on_without_the_miner() -> None:
    """A miner that has stopped waiting finds its result accepted, and the second one forbidden."""
    entered, go_on, accepted = (threading.Event() for _ in range(3))

    def slow(task: SubnetTask, gaussians: Gaussians) -> float:
        entered.set()
        assert go_on.wait(20)
        return 1.0

    with ExitStack() as stack:
        stack.callback(go_on.set)
        async with validator_rig(slow, keep=lambda task, data: accepted.set()) as rig:
            task = await rig.task()
            lost = await rig.submit(submission(task), seconds=1.0)
            assert await asyncio.to_thread(entered.wait, 20)
            locked = await rig.submit(submission(task))
            go_on.set()
            assert await asyncio.to_thread(accepted.wait, 20)
            again = await rig.submit(submission(task))

    assert lost.dendrite.status_code == 408
    assert locked.dendrite.status_code == 200
    assert again.dendrite.status_code == 403
    verdicts = rig.ledger.state.miners[MINER.ss58_address].verdicts
    assert verdicts == {Verdict.LOCKED: 1, Verdict.ACCEPTED: 1}


async def test_a_pull_meant_for_another_is_refused() -> None:
    """The validator's own axon is as strict as the miner's: meant for another, 401."""
    async with validator_rig() as rig, Dendrite(MINER) as dendrite:
        reply = await dendrite.call(rig.address, OTHER.ss58_address, PullTask())

    assert reply.dendrite.status_code == 401


async def test_versions_are_for_validators() -> None:
    """Enough stake gets an answer; a miner and a stranger get 403."""
    async with validator_rig() as rig:
        replies = []
        for signer in (OTHER, MINER, STRANGER):
            async with Dendrite(signer) as dendrite:
                replies.append(
                    await dendrite.call(rig.address, VALIDATOR.ss58_address, GetVersion())
                )

    assert [reply.dendrite.status_code for reply in replies] == [200, 403, 403]
    assert (replies[0].version, replies[0].validation_version) == (45, "2.4.0")


async def test_the_owner_needs_no_stake() -> None:
    """The subnet's owner may ask for versions whatever it has."""
    owner = Peer(hotkey=OWNER_HOTKEY, uid=0, stake=0.0, validator_permit=False)
    ledger = Ledger(lambda number: None, {}.get)
    service = ValidatorService("v", ledger, lambda: PeersSnapshot.of(owner))

    assert (await service.version(GetVersion(), owner)).version == 45


async def test_miners_do_not_wait_for_each_other() -> None:
    """Both get tasks of their own, and both results count."""
    async with validator_rig() as rig:
        tasks = await asyncio.gather(*(rig.task(signer) for signer in (MINER, OTHER)))
        pairs = zip(tasks, (MINER, OTHER), strict=True)
        replies: list[SubmitResults] = await asyncio.gather(
            *(rig.submit(submission(task, signer=signer), signer) for task, signer in pairs)
        )

    assert len({task.id for task in tasks}) == 2
    assert [reply.feedback and reply.feedback.task_fidelity_score for reply in replies] == [1, 1]
    assert set(rig.ledger.state.miners) == set(PEERS.peers)
