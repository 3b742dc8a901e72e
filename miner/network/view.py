"""What the operator's pages and verbs may know of the daemon, and ask of it.

Protocols only, as narrow as their use; ``app`` implements the two of the daemon, the queue and the
journal are the real ones in service and small fakes in tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from miner.admission.peers import PeersSnapshot
from miner.executor import ExecutorHealth
from miner.job import Job, Outcome
from miner.metrics import Metrics
from miner.network.chain_reading import ChainState
from miner.network.journal_view import JournalView
from miner.settings.daemon import QueueSettings


class TicketView(Protocol):
    """A job that was submitted."""

    async def outcome(self) -> Outcome:
        """Waits for it."""

    def leave(self) -> None:
        """Nobody waits for it any more."""


class JobLine(Protocol):
    """One job of the queue, as it is shown."""

    @property
    def id(self) -> str:
        """As in ``Job``."""

    @property
    def state(self) -> str:
        """Whether it waits or runs."""

    @property
    def stage(self) -> str | None:
        """What is being done to it."""

    @property
    def steps(self) -> tuple[int, int] | None:
        """Of the stage: done, and in all."""


class QueueState(Protocol):
    """The queue at one moment."""

    @property
    def depth(self) -> int:
        """Jobs that wait."""

    @property
    def in_flight(self) -> int:
        """Jobs being done."""

    @property
    def accepting(self) -> bool:
        """False once it drains."""

    @property
    def service_seconds(self) -> float | None:
        """What a job has been taking."""

    @property
    def oldest_seconds(self) -> float | None:
        """How long the oldest has been waiting."""

    @property
    def jobs(self) -> Sequence[JobLine]:
        """All of them."""


class QueueView(Protocol):
    """The queue as the HTTP API uses it."""

    async def submit(self, job: Job) -> TicketView:
        """Takes a job, or raises a ``CapacityError``."""

    def snapshot(self) -> QueueState:
        """How it is."""


class ExecutorView(Protocol):
    """The executor as it is shown."""

    def health(self) -> ExecutorHealth:
        """How the workers are."""


class IdentityView(Protocol):
    """One of the hotkeys that are served."""

    @property
    def name(self) -> str:
        """In logs, metrics and the journal."""

    @property
    def hotkey(self) -> str | None:
        """Its ss58 address, where something signs."""

    @property
    def waiting(self) -> int:
        """Its jobs that wait."""

    @property
    def peers(self) -> PeersSnapshot | None:
        """Its subnet's hotkeys, where validators are served."""

    @property
    def chain(self) -> ChainState | None:
        """How it is with its chain, where one is watched."""

    def reasons(self) -> Sequence[str]:
        """What keeps it from taking work, one line each."""


class DaemonView(Protocol):
    """The daemon as it is shown, and worked with, by the operator's programs."""

    @property
    def version(self) -> str:
        """Of the program."""

    @property
    def preset(self) -> str:
        """Its name."""

    @property
    def device(self) -> str:
        """What the models run on."""

    @property
    def identities(self) -> Sequence[IdentityView]:
        """The hotkeys that are served; at least one, which may be without a key."""

    @property
    def generator(self) -> str | None:
        """What new jobs go to."""

    @property
    def started_at(self) -> float:
        """``time.monotonic()`` seconds."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each server listens, by its name."""

    @property
    def queue(self) -> QueueView:
        """The queue that all intakes share."""

    @property
    def journal(self) -> JournalView:
        """What is remembered."""

    @property
    def executor(self) -> ExecutorView:
        """Who does the work."""

    @property
    def metrics(self) -> Metrics:
        """All instruments."""

    @property
    def queue_settings(self) -> QueueSettings:
        """Those that hold now; a reload may change them."""

    @property
    def rollback(self) -> Mapping[str, Any] | None:
        """How the breaker is, as JSON values."""

    def validators(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks, one line each, as in ``puller/report.py``.

        Raises:
            UnknownRoute: none are: the daemon does not pull.
        """

    def gateways(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks, one line each; none where the daemon asks none."""

    def troubles(self) -> Sequence[str]:
        """What else keeps it from taking work, one line each."""


class ReloadReport(Protocol):
    """What came of reading the settings again; keys as the file names them."""

    @property
    def applied(self) -> Sequence[str]:
        """Changed keys that hold from now on."""

    @property
    def waiting(self) -> Sequence[str]:
        """Changed keys that hold after a restart."""


class DaemonControl(Protocol):
    """What an operator may ask of the daemon through the control socket."""

    async def drain(self) -> None:
        """Refuses new work; returns when none is left or the limit is over. The daemon stays up."""

    async def reload(self) -> ReloadReport:
        """Reads the settings again.

        Raises:
            ConfigError: they do not hold; nothing was changed.
        """

    async def precision(self, mode: str) -> Mapping[str, Any]:
        """Loads the models anew in a precision mode, after the jobs at work; the plan then.

        Raises:
            BadOption: there is no such mode.
            ControlError: they did not load or warm up, and are as they were; or the daemon is
                still loading.
        """

    def rollback(self) -> Mapping[str, Any]:
        """Has new jobs go to the rollback generator until ``restore``; how the breaker is then.

        Raises:
            ControlError: there is none.
        """

    def restore(self, hold: bool) -> Mapping[str, Any]:
        """Has new jobs go to the primary; how the breaker is then.

        Args:
            hold: even when it fails; else the breaker decides again from now on.

        Raises:
            ControlError: the daemon is still loading.
        """

    def stop(self) -> None:
        """Begins the orderly stop, as SIGTERM does, and returns at once."""


def why_not_ready(view: DaemonView, identity: IdentityView | None = None) -> tuple[str, ...]:
    """One line for each reason why no new work is taken; none means ready.

    Args:
        view: the daemon.
        identity: the one whose work is meant; any's when not given.
    """
    reasons = list(identity.reasons()) if identity is not None else []
    reasons = reasons or list(view.troubles())
    if not view.executor.health().ready:
        reasons.append("no worker is ready")
    if not view.queue.snapshot().accepting:
        reasons.append("draining")
    if view.journal.failed:
        reasons.append(f"the journal cannot be written: {view.journal.failed}")
    return tuple(reasons)
