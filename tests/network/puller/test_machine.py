"""The puller against validators by the real rules, with everything failing that can, in any order.

Hypothesis moves time, breaks the network to a validator, ends and begins lives of the miner, sets
its clock, and takes its workers away. In the end all is well again, and the ledgers are read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from miner.network.subnet import SubnetTask, TextTask
from miner.validator.rules import Verdict
from tests.network.puller.virtual import VirtualLoop
from tests.network.puller.world import MINER, Validator, World, a_validator

VALIDATORS = 3
FAULTS = ("", "", "refused", "lost_request", "lost_reply", "error", "garbage")
WHICH = st.integers(0, VALIDATORS - 1)
TIME = st.sampled_from([0.01, 0.06, 0.3, 7.0, 25.0, 120.0, 400.0, 1000.0])
LONGEST_WAIT_SECONDS = 3 * 3600.0
"""After the last fault: the penalty of a lost reply, back-off, and the queue."""


def tasks(seed: int) -> Any:
    """Endless tasks; every seventh cannot be made, every ninth is no prompt at all."""

    def nth(number: int) -> SubnetTask:
        prompt = f"a chair {number}"
        if number % 7 == 6:
            prompt = f"a bad chair {number}"
        elif number % 9 == 8:
            prompt = "\n\t "
        return TextTask(id=f"{seed}-{number}", prompt=prompt)

    return nth


async def _until_submission(validator: Validator) -> None:
    """Until a result is on its way, at most a while."""
    before = len(validator.calls)
    for _ in range(3000):
        await asyncio.sleep(0.3)
        if any(call == "SubmitResults" for _, call in validator.calls[before:]):
            return


class PullMachine(RuleBasedStateMachine):
    """Each rule is something that happens to a miner."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.validators = [a_validator(i, tasks(i)) for i in range(VALIDATORS)]
        self.world = World(*self.validators, seconds=20.0)
        self.runner.run(self.world.start())

    def teardown(self) -> None:
        self.heal()
        self.later(LONGEST_WAIT_SECONDS)
        try:
            for validator in self.validators:
                self.read(validator)
        finally:
            self.runner.run(self.world.kill())
            self.runner.close()

    def heal(self) -> None:
        for validator in self.validators:
            validator.fault, validator.latency_seconds, validator.judge_seconds = "", 0.05, 0.35
        self.world.wall_error = 0.0
        self.world.absent.clear()
        self.world.gpu.alive = True
        self.world.gpu.announce()

    def later(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    def read(self, validator: Validator) -> None:
        """Every task but the one in hand has ended, once, as it should."""
        records = list(validator.ledger.state.records.values())
        assert len(records) > 5, "it goes on"
        for number, record in enumerate(records[:-1]):
            ends = (Verdict.EMPTY,) if number % 7 == 6 or number % 9 == 8 else (Verdict.ACCEPTED,)
            assert record.verdict in ends, (record, validator.account)
            assert record.endings == 1, record
        assert records[-1].assigned_at > self.now() - 1000.0, "no task is stuck"

    def now(self) -> float:
        return self.runner.get_loop().time() + 1_900_000_000.0

    # What happens, each followed by some time

    @rule(seconds=TIME)
    def time_passes(self, seconds: float) -> None:
        self.later(seconds)

    @rule(which=WHICH, fault=st.sampled_from(FAULTS), seconds=TIME)
    def network(self, which: int, fault: str, seconds: float) -> None:
        self.validators[which].fault = fault
        self.later(seconds)

    @rule(which=WHICH, lost=st.booleans())
    def submission(self, which: int, lost: bool) -> None:
        """Time passes until the validator has a result; its reply is perhaps lost."""
        validator = self.validators[which]
        self.runner.run(_until_submission(validator))
        if lost:
            fault, validator.fault = validator.fault, "lost_reply"
            self.later(1.0)
            validator.fault = fault

    @rule(which=WHICH, seconds=st.sampled_from([0.05, 3.0, 11.0, 20.0]), then=TIME)
    def slow(self, which: int, seconds: float, then: float) -> None:
        self.validators[which].latency_seconds = seconds
        self.later(then)

    @rule(which=WHICH, seconds=st.sampled_from([0.35, 5.0, 25.0]), then=TIME)
    def slow_scorer(self, which: int, seconds: float, then: float) -> None:
        self.validators[which].judge_seconds = seconds
        self.later(then)

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 30.0, 900.0]), then=TIME)
    def kill_and_restart(self, seconds: float, then: float) -> None:
        self.runner.run(self.world.kill())
        self.later(seconds)
        self.runner.run(self.world.start())
        self.later(then)

    @rule(seconds=st.sampled_from([30.0, 400.0]), then=TIME)
    def the_machine_restarts(self, seconds: float, then: float) -> None:
        self.world.wall_error = 0.0  # it asks for the time before it starts the miner
        self.runner.run(self.world.kill())
        self.later(seconds)
        self.world.boot += "'"
        self.runner.run(self.world.start())
        self.later(then)

    @rule(then=TIME)
    def stop_and_restart(self, then: float) -> None:
        self.runner.run(self.world.stop())
        self.runner.run(self.world.start())
        self.later(then)

    @rule(seconds=st.sampled_from([-4000.0, -300.0, -5.0, 0.0, 5.0, 300.0, 4000.0]), then=TIME)
    def clock_is_set(self, seconds: float, then: float) -> None:
        self.world.wall_error = seconds
        self.later(then)

    @rule(alive=st.booleans(), then=TIME)
    def workers(self, alive: bool, then: float) -> None:
        self.world.gpu.alive = alive
        self.world.gpu.announce()
        self.later(then)

    @rule(which=WHICH, gone=st.booleans(), then=TIME)
    def serves(self, which: int, gone: bool, then: float) -> None:
        hotkey = self.validators[which].hotkey
        (self.world.absent.add if gone else self.world.absent.discard)(hotkey)
        self.later(then)

    @rule()
    def all_is_well(self) -> None:
        self.heal()
        self.later(400.0)

    # What always holds

    @invariant()
    def no_cooldown_is_violated(self) -> None:
        for validator in self.validators:
            account = validator.account
            if account is not None:
                assert account.early_pulls == 0, validator.calls[-5:]
                assert account.verdicts[Verdict.BAD_SIGNATURE] == 0
                assert account.verdicts[Verdict.WRONG_TASK] == 0

    @invariant()
    def what_is_done_is_not_done_again(self) -> None:
        disk = self.world.disk
        keys = [job.task_id for job, _ in disk.jobs.values()]
        assert len(keys) == len(set(keys))
        assert all(job.requester != MINER.ss58_address for job, _ in disk.jobs.values())


def test_no_task_is_lost_or_brought_twice_and_no_cooldown_violated() -> None:
    """Whatever happens in whatever order: each task ends once, and nobody is asked too early."""
    run_state_machine_as_test(
        PullMachine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
