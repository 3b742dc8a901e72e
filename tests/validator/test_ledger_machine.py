"""Any sequence of what an honest miner, a careless one and the world may do to a ledger."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from miner.errors import NotPermitted
from miner.network.subnet import SubnetTask, TextTask
from miner.validator.ledger import Submitted
from miner.validator.rules import Verdict
from tests.validator.rig import Books


class LedgerMachine(RuleBasedStateMachine):
    """``alice`` keeps every rule; ``bob`` does what he likes; the validator restarts at will."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.tasks: dict[str, SubnetTask] = {}
        self.judging: list[tuple[str, SubnetTask]] = []
        self.may_pull_at = 0
        self.accepted = {"alice": 0, "bob": 0}

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        """Time goes on."""
        self.books.clock.now += seconds

    @rule()
    def restart(self) -> None:
        """What was being judged is lost, and nothing else."""
        self.judging.clear()
        self.books.restart()

    @precondition(lambda self: "alice" not in self.tasks)
    @rule()
    def alice_pulls(self) -> None:
        """At the first moment she may."""
        self.books.clock.now = max(self.books.clock.now, float(self.may_pull_at))
        self.pull("alice")
        assert "alice" in self.tasks, "an honest miner always gets a task"

    @precondition(lambda self: "alice" in self.tasks)
    @rule(score=st.none() | st.floats(0, 1.2), empty=st.booleans())
    def alice_submits(self, score: float | None, empty: bool) -> None:
        """Once, and waits for what becomes of it."""
        task = self.tasks["alice"]
        received = self.receive("alice", task, empty, signed=True)
        if received == task:
            self.judging.remove(("alice", task))
            received = self.books.ledger.conclude("alice", task, score)
        assert isinstance(received, Submitted)
        self.settle("alice", task, received)

    @rule()
    def bob_pulls(self) -> None:
        """Whenever he likes."""
        self.pull("bob")

    @rule(empty=st.booleans(), signed=st.booleans(), known=st.booleans())
    def bob_submits(self, empty: bool, signed: bool, known: bool) -> None:
        """Whatever he likes, as often as he likes."""
        task = self.tasks.get("bob")
        if task is None or not known:
            task = TextTask(id="made up", prompt="x")
        try:
            received = self.receive("bob", task, empty, signed)
        except NotPermitted:
            return
        if isinstance(received, Submitted):
            self.settle("bob", task, received)

    @precondition(lambda self: self.judging)
    @rule(score=st.none() | st.floats(0, 1.2), data=st.data())
    def judged(self, score: float | None, data: st.DataObject) -> None:
        """Judgements end in any order, also after the task is over."""
        hotkey, task = self.judging.pop(data.draw(st.integers(0, len(self.judging) - 1)))
        self.settle(hotkey, task, self.books.ledger.conclude(hotkey, task, score))

    @invariant()
    def alice_never_violates(self) -> None:
        """Who pulls only when she was told to has no violation, whatever else happens."""
        account = self.books.ledger.state.miners.get("alice")
        assert account is None or (account.early_pulls, account.violations) == (0, 0)

    @invariant()
    def every_task_ends_once_for_the_honest(self) -> None:
        """None of hers is lost, none counts twice."""
        records = [r for r in self.books.ledger.state.records.values() if r.hotkey == "alice"]
        assert all(record.endings <= 1 for record in records)
        open_tasks = [record.id for record in records if record.verdict is None]
        assert open_tasks == ([self.tasks["alice"].id] if "alice" in self.tasks else [])

    @invariant()
    def rewards_are_for_accepted_results(self) -> None:
        """No task is accepted twice, not even Bob's."""
        for hotkey, count in self.accepted.items():
            records = [r for r in self.books.ledger.state.records.values() if r.hotkey == hotkey]
            assert sum(r.verdict is Verdict.ACCEPTED for r in records) <= count <= len(records)

    def pull(self, hotkey: str) -> None:
        pulled = self.books.ledger.pull(hotkey)
        if pulled.task is None:
            assert pulled.cooldown_until > self.books.clock.now
        else:
            assert self.tasks.setdefault(hotkey, pulled.task) == pulled.task

    def receive(
        self, hotkey: str, task: SubnetTask, empty: bool, signed: bool
    ) -> Submitted | SubnetTask:
        received = self.books.ledger.receive(hotkey, task.id, empty=empty, signed=lambda _: signed)
        if not isinstance(received, Submitted):
            self.judging.append((hotkey, received))
        return received

    def settle(self, hotkey: str, task: SubnetTask, submitted: Submitted) -> None:
        if submitted.verdict.final:
            self.tasks.pop(hotkey, None)
            self.accepted[hotkey] += submitted.verdict is Verdict.ACCEPTED
            if hotkey == "alice":
                self.may_pull_at = submitted.cooldown_until


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
