"""Pulling and bringing, rule by rule, against validators that keep the subnet's own rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from miner.job import Asset
from miner.network.puller.visit import good_enough
from miner.network.subnet import ImageTask, SubnetTask, TextTask
from miner.validator.rules import Rules, Verdict
from tests.network.puller.virtual import run_virtual
from tests.network.puller.world import Validator, World, a_validator, true_time

HOUR = 3600.0


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test in virtual time."""

    def run() -> None:
        run_virtual(test())

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


def one(prompt: str = "a chair", kind: type[Any] = TextTask) -> Callable[[int], SubnetTask | None]:
    """A source of one single task."""

    def nth(number: int) -> SubnetTask | None:
        return kind(id="the-task", prompt=prompt) if number == 0 else None

    return nth


def ended(validator: Validator, number: int = 0) -> Verdict | None:
    """What became of the validator's n-th task."""
    return list(validator.ledger.state.records.values())[number].verdict


def submissions(validator: Validator) -> list[float]:
    """When results came."""
    return [at for at, call in validator.calls if call == "SubmitResults"]


def pulls(validator: Validator) -> list[float]:
    """When it was asked."""
    return [at for at, call in validator.calls if call == "PullTask"]


# The usual course


@virtually
async def test_a_validator_is_kept_at_its_ceiling() -> None:
    """With a generator under 30 s: a task each 300 s, each accepted, and never a pull too early."""
    validator = a_validator()
    async with World(validator, seconds=25.0):
        await asyncio.sleep(4 * HOUR)

        assert validator.account.verdicts == {Verdict.ACCEPTED: 48}
        assert validator.account.early_pulls == 0


@virtually
async def test_the_journal_has_the_job_and_its_outcome_first() -> None:
    """The task is on disk before the GPU has it, and its result before the validator."""
    validator = a_validator(tasks=one())
    async with World(validator, seconds=20.0) as world:
        await asyncio.sleep(10.0)
        [(job, _)] = world.disk.jobs.values()
        assert (job.intake, job.promised, job.requester) == ("pull", True, validator.hotkey)
        assert job.task_id == f"pull:{validator.hotkey}:the-task"
        assert job.priority == validator.stake
        await asyncio.sleep(20.0)

        assert job.id in world.disk.outcomes
        assert job.id in world.disk.delivered
        assert [kind for kind, _ in world.disk.events] == ["pull", "feedback"]
        assert world.disk.events[1][1]["task_fidelity_score"] == 0.9


@virtually
async def test_equal_prompts_get_seeds_of_their_own() -> None:
    """Results equal to another miner's count for neither: task and hotkey decide the seed."""
    validators = [a_validator(i, one()) for i in range(2)]
    async with World(*validators) as world:
        await asyncio.sleep(100.0)

        assert len({job.spec.seed for job in world.gpu.begun}) == 2


@virtually
async def test_pictures_are_made_and_signed_too() -> None:
    """The signature covers the base64 text as it came, the job has the picture's bytes."""
    png = (
        "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKklEQVR4nO3NMQEAAAgDoGn/zrOEDxJwS"
        "zqZbVsAAAAAAAAAAAAAAAAAAPgBnBYAXbrYFYYAAAAASUVORK5CYII="
    )
    validator = a_validator(tasks=one(png, ImageTask))
    async with World(validator) as world:
        await asyncio.sleep(100.0)

        assert world.gpu.begun[0].spec.image is not None
        assert ended(validator) is Verdict.ACCEPTED


# No more than can be made


@virtually
async def test_no_more_is_pulled_than_can_be_made() -> None:
    """One worker: one task at work and at most one waiting, whoever else would give one."""
    validators = [a_validator(i) for i in range(10)]
    async with World(*validators, seconds=100.0) as world:
        for _ in range(50):
            await asyncio.sleep(13.0)
            assert len(world.puller._book.assignments) <= 3  # the third is being brought
            assert world.queue.snapshot().depth <= 1


@virtually
async def test_a_task_ahead_waits_only_while_that_is_free() -> None:
    """A second task is pulled when it will be done within what is free: none is throttled."""
    validators = [a_validator(i) for i in range(10)]
    async with World(*validators, seconds=20.0) as world:
        await asyncio.sleep(HOUR)

        for validator in validators:
            records = list(validator.ledger.state.records.values())
            done = [record for record in records if record.ended_at is not None]
            assert all(record.ended_at - record.assigned_at <= 30.0 for record in done)
        assert world.gpu.busy_seconds >= 10 * 12 * 20.0


@virtually
async def test_a_busy_gpu_is_never_idle() -> None:
    """With more tasks to be had than can be made, the next one is there when a worker is free."""
    validators = [a_validator(i) for i in range(10)]
    async with World(*validators, seconds=40.0) as world:
        await asyncio.sleep(HOUR)

        assert world.gpu.busy_seconds >= 0.97 * HOUR
        counts = [validator.account.verdicts[Verdict.ACCEPTED] for validator in validators]
        assert max(counts) - min(counts) <= 1, "fair"


@virtually
async def test_without_workers_nothing_is_pulled() -> None:
    """Nor while the disk refuses, the queue drains, or the peers are of long ago."""
    validator = a_validator()
    world = World(validator)
    world.gpu.alive = False
    async with world:
        await asyncio.sleep(100.0)
        assert pulls(validator) == []

        world.journal.failed = "full"
        world.gpu.alive = True
        await asyncio.sleep(100.0)
        assert pulls(validator) == []

        world.snapshot_at = asyncio.get_running_loop().time() - 9000.0
        world.journal.failed = None
        await asyncio.sleep(100.0)
        assert pulls(validator) == []

        world.snapshot_at = None
        await asyncio.sleep(100.0)
        assert len(pulls(validator)) == 1


# Empty results


@virtually
async def test_what_cannot_be_made_is_given_back() -> None:
    """An empty result costs nothing but the cooldown: for a failed job and for a bad task."""
    failing, bad = a_validator(0, one("a bad chair")), a_validator(1, one("\n"))
    async with World(failing, bad):
        await asyncio.sleep(100.0)

        assert (ended(failing), ended(bad)) == (Verdict.EMPTY, Verdict.EMPTY)


def test_a_result_under_the_threshold_is_not_worth_the_penalty() -> None:
    """By our own check of it; without one it is brought."""
    asset = Asset(b"x", "spz", 7000, "triposr", {})

    assert good_enough(asset, 0.6)
    assert good_enough(replace(asset, score=0.6), 0.6)
    assert not good_enough(replace(asset, score=0.59), 0.6)


@virtually
async def test_a_bad_result_is_given_back_empty() -> None:
    """The validator never sees what our own check thinks it would refuse."""
    validator = a_validator()
    world = World(validator)
    world.gpu.score = 0.4
    async with world:
        await asyncio.sleep(100.0)

        assert ended(validator) is Verdict.EMPTY


@virtually
async def test_the_time_that_is_free_is_told_to_the_worker() -> None:
    """Less what went by, and what the way back takes."""
    validator = a_validator()
    async with World(validator) as world:
        await asyncio.sleep(10.0)

        assert 25.0 < (world.gpu.begun[0].free_seconds or 0.0) <= 27.0


# Lost replies, restarts


@virtually
async def test_a_lost_pull_is_repeated_and_gives_the_same_task() -> None:
    """Nothing is made twice, and no cooldown is at stake."""
    validator = a_validator(fault="lost_reply")
    async with World(validator) as world:
        await asyncio.sleep(3.0)
        validator.fault = ""
        await asyncio.sleep(60.0)

        assert len(pulls(validator)) == 2
        assert ended(validator) is Verdict.ACCEPTED
        assert len(world.gpu.begun) == 1


@virtually
async def test_a_submission_whose_reply_is_lost_is_repeated_after_the_lock() -> None:
    """It was judged: the second try hears so, and the longest cooldown is kept to be safe."""
    validator = a_validator()
    async with World(validator):
        await asyncio.sleep(15.0)
        validator.fault = "lost_reply"
        await asyncio.sleep(10.0)
        validator.fault = ""
        await asyncio.sleep(2000.0)

        first, second = submissions(validator)[:2]
        assert second - first >= 30.0
        assert pulls(validator)[1] - second >= 900.0
        assert ended(validator) is Verdict.ACCEPTED
        assert validator.account.early_pulls == 0


@virtually
async def test_a_submission_that_never_left_is_repeated_soon() -> None:
    """A validator that is down has judged nothing: as soon as it is back, it gets the result."""
    validator = a_validator()
    async with World(validator):
        await asyncio.sleep(15.0)
        validator.fault = "refused"
        await asyncio.sleep(60.0)
        validator.fault = ""
        back_at = true_time()
        await asyncio.sleep(400.0)

        assert 0.0 < next(at - back_at for at in submissions(validator) if at > back_at) < 45.0
        assert ended(validator) is Verdict.ACCEPTED
        assert len(pulls(validator)) == 2


@virtually
async def test_a_restart_goes_on_where_it_was() -> None:
    """Killed while it is made, or when it is made: the task is brought, and pulled once."""
    for moment in (5.0, 20.02, 20.08):
        validator = a_validator()
        world = World(validator)
        async with world:
            await asyncio.sleep(moment)
            await world.kill()
            await asyncio.sleep(10.0)
            await world.start()
            await asyncio.sleep(240.0)

            assert ended(validator) is Verdict.ACCEPTED
            assert len(pulls(validator)) == 1
            assert validator.account.verdicts[Verdict.ACCEPTED] == 1


@virtually
async def test_killed_while_it_was_judged_it_keeps_the_longest_cooldown() -> None:
    """The next life knows that a reply may have been lost with the last one."""
    validator = a_validator(judge_seconds=2.0)
    world = World(validator)
    async with world:
        await asyncio.sleep(21.0)
        assert submissions(validator)
        await world.kill()
        await world.start()
        await asyncio.sleep(2000.0)

        assert ended(validator) is Verdict.ACCEPTED
        assert validator.account.early_pulls == 0
        assert pulls(validator)[1] - pulls(validator)[0] > 900.0


@virtually
async def test_cooldowns_outlive_restarts_and_clocks_that_are_set() -> None:
    """Neither a restart nor a wall clock that jumps ahead has anybody asked too early."""
    validator = a_validator()
    world = World(validator)
    async with world:
        await asyncio.sleep(100.0)
        world.wall_error = 4000.0
        await asyncio.sleep(50.0)
        await world.kill()
        await world.start()
        await asyncio.sleep(100.0)
        assert len(pulls(validator)) == 1

        await asyncio.sleep(100.0)
        assert len(pulls(validator)) == 2
        assert validator.account.early_pulls == 0


@virtually
async def test_a_journal_that_lost_our_book_costs_nothing() -> None:
    """The validator gives the same task again, and the job that there is answers it."""
    validator = a_validator()
    world = World(validator)
    async with world:
        await asyncio.sleep(10.0)
        await world.kill()
        world.disk.facts.clear()
        await world.start()
        await asyncio.sleep(60.0)

        assert len(pulls(validator)) == 2
        assert len(world.disk.jobs) == 1
        assert ended(validator) is Verdict.ACCEPTED


@virtually
async def test_what_a_stop_finds_finished_is_still_brought() -> None:
    """An orderly stop waits for the job, and then for the submission."""
    validator = a_validator()
    world = World(validator)
    async with world:
        await asyncio.sleep(5.0)
        await world.stop()

        assert ended(validator) is Verdict.ACCEPTED
        await world.start()


# Validators that misbehave


@virtually
async def test_a_task_that_the_validator_forgot_is_over() -> None:
    """After its restart it says that nothing is assigned: the next task is pulled soon."""
    validator = a_validator()
    async with World(validator):
        await asyncio.sleep(10.0)
        validator.account.task = validator.account.assigned_at = None
        await asyncio.sleep(60.0)

        assert len(pulls(validator)) == 2
        assert validator.account.early_pulls == 0


@virtually
async def test_a_result_that_was_ignored_is_brought_again() -> None:
    """The task is kept by the validator: pulled again, it is answered from the journal."""
    validator = a_validator()
    async with World(validator) as world:
        await asyncio.sleep(10.0)
        validator.account.locked_until = int(true_time()) + 25
        await asyncio.sleep(200.0)

        assert validator.account.verdicts[Verdict.LOCKED] >= 1
        assert ended(validator) is Verdict.ACCEPTED
        assert len(world.gpu.begun) == 1


@virtually
async def test_a_stranger_waits_as_it_is_told() -> None:
    """A validator that does not know our hotkey is asked again after its hour."""
    validator = a_validator()
    validator.ledger._uid_of = lambda hotkey: None
    async with World(validator):
        await asyncio.sleep(3500.0)
        assert len(pulls(validator)) == 1
        await asyncio.sleep(200.0)

        assert len(pulls(validator)) == 2


@virtually
async def test_an_early_pull_is_learned_from() -> None:
    """A validator whose clock is behind and does not say so gets a margin of its own."""
    validator = a_validator(tells_date=False)
    validator.ledger._clock = lambda: true_time() - 5.0
    async with World(validator):
        await asyncio.sleep(2 * HOUR)

        assert 0 < validator.account.early_pulls <= 3
        assert validator.account.verdicts[Verdict.ACCEPTED] >= 22


@virtually
async def test_an_absurd_cooldown_costs_only_that_validator() -> None:
    """It is asked again after the cap; the others never notice."""
    absurd, good = a_validator(0, fault="absurd"), a_validator(1)
    async with World(absurd, good, max_cooldown_seconds=7200.0):
        await asyncio.sleep(4 * HOUR)

        assert len(pulls(absurd)) == 2
        assert good.account.verdicts[Verdict.ACCEPTED] == 48


@virtually
async def test_bad_validators_cost_only_themselves() -> None:
    """Slow, silent, refusing and babbling ones do not keep a good one from its ceiling."""
    faults = ("slow", "lost_request", "refused", "error", "garbage", "lost_reply")
    bad = [a_validator(i, fault=fault, stake=9e6) for i, fault in enumerate(faults)]
    good = [a_validator(10 + i) for i in range(4)]
    async with World(*bad, *good):
        await asyncio.sleep(2 * HOUR)

        for validator in good:
            assert validator.account.verdicts[Verdict.ACCEPTED] >= 23
        for validator in bad[:-1]:
            assert len(validator.calls) < 2 * HOUR / 100.0, "with back-off"


@virtually
async def test_a_validator_that_gives_nonsense_for_tasks_is_left_alone() -> None:
    """A task without a usable name cannot be brought back; asking goes on with back-off."""
    validator = a_validator(tasks=lambda n: TextTask(id="\n", prompt="a chair"))
    async with World(validator) as world:
        await asyncio.sleep(HOUR)

        assert world.disk.jobs == {}
        assert len(pulls(validator)) < 25


@virtually
async def test_nothing_to_do_is_asked_about_now_and_then() -> None:
    """Where a validator has no task and names no time."""
    validator = a_validator(tasks=lambda n: None)
    async with World(validator, idle_seconds=60.0):
        await asyncio.sleep(HOUR)

        assert 55 <= len(pulls(validator)) <= 61


@virtually
async def test_a_validator_without_cooldowns_does_not_starve_others() -> None:
    """Whoever waits longest is next."""
    rules = Rules(cooldown_seconds=0, throttle_seconds=0)
    greedy, good = a_validator(0, rules=rules, stake=1e9), a_validator(1)
    async with World(greedy, good, seconds=20.0):
        await asyncio.sleep(HOUR)

        assert good.account.verdicts[Verdict.ACCEPTED] >= 11
        assert greedy.account.verdicts[Verdict.ACCEPTED] >= 50


@virtually
async def test_our_own_mistake_in_a_visit_ends_that_visit() -> None:
    """The daemon goes on, the task is kept, and the validator is visited again later."""
    validator, good = a_validator(0), a_validator(1)
    answer, calls = validator.answer, 0

    async def broken(synapse: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("nobody thought of that")
        return await answer(synapse)

    validator.answer = broken  # type: ignore[method-assign]
    async with World(validator, good):
        await asyncio.sleep(1000.0)

        assert ended(validator) is Verdict.ACCEPTED
        assert good.account.verdicts[Verdict.ACCEPTED] >= 3


# What is shown


@virtually
async def test_the_report_shows_every_validator() -> None:
    """Counts, cooldown, state and feedback, as plain JSON; larger stake first."""
    small, large = a_validator(0), a_validator(1, stake=9000.0)
    async with World(small, large) as world:
        await asyncio.sleep(100.0)
        first, second = world.puller.report()

        assert json.loads(json.dumps(first)) == first
        assert (first["hotkey"], second["hotkey"]) == (large.hotkey, small.hotkey)
        assert (first["tasks"], first["accepted"], first["state"]) == (1, 1, "cooldown")
        assert 180 < first["cooldown_seconds"] < 220
        assert first["rating"] == 1500.0
