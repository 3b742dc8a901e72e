"""What is known of each validator, kept by hotkey in the journal: cooldowns, tasks in hand, scores.

Every change is posted to the journal at once, in order, so that a kill loses nothing that was acted
upon. One small document holds all validators; a task in hand, which may carry a picture, lies
beside it under a key of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from miner.network.puller.clocks import Moment
from miner.network.puller.cooldowns import Cooldown
from miner.network.puller.tasks import Assignment
from miner.network.subnet import Feedback

STATE_KEY = "pull"
MAX_ENTRIES = 1024
FORGET_SECONDS = 7 * 86_400.0
"""Without a word from a hotkey that has left the subnet."""
USUAL_FREE_SECONDS = 30.0
"""What validators of the subnet grant; until one says otherwise."""
MAX_ERROR_CHARACTERS = 200

ModelT = TypeVar("ModelT", bound=BaseModel)

log = structlog.get_logger(__name__)


class Facts(Protocol):
    """What is needed of the journal."""

    async def state(self, key: str) -> str | None:
        """A small fact by name."""

    def set_state(self, key: str, value: str) -> None:
        """Keeps a small fact; on disk before anything awaited later."""


class Entry(BaseModel):
    """One validator.

    Attributes:
        cooldown: when it may be asked again.
        margin_seconds: kept to its cooldowns beyond the setting's: grows when we were early.
        free_seconds: of generation that cost no cooldown, as last heard.
        task_id: of the task in hand, whose ``Assignment`` lies beside; None without one.
        doubtful: a result of that task was sent, and whether it was judged is not known.
        violations: the validator's count of pulls that came early.
        failures: calls in a row that failed, or tasks in a row that came to nothing new.
        pulls, tasks, accepted, rejected, skipped, unknown: counted since the journal began: pulls
            answered, tasks given, and what became of them; "unknown" are those that the validator
            did not know any more, or answered without judging them.
        feedback: the last one.
        last_task_id: of the task last finished.
        last_error: one line about the last failure; None after a success.
        heard_at: unix seconds of the last answer.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    cooldown: Cooldown = Cooldown()
    margin_seconds: float = 0.0
    free_seconds: float = USUAL_FREE_SECONDS
    task_id: str | None = None
    doubtful: bool = False
    violations: int = 0
    failures: int = 0
    pulls: int = 0
    tasks: int = 0
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    unknown: int = 0
    feedback: Feedback | None = None
    last_task_id: str | None = None
    last_error: str | None = None
    heard_at: float = 0.0

    def failed(self, reason: str) -> None:
        """One more failure in a row."""
        self.failures += 1
        self.last_error = reason[:MAX_ERROR_CHARACTERS]


class _Document(BaseModel):
    """All of it, as it is kept."""

    validators: dict[str, Entry] = Field(default_factory=dict)


class Book:
    """All validators. Its one writer is the puller that owns it; every change ends in ``save``.

    Args:
        facts: the journal.
        now: both clocks.
    """

    def __init__(self, facts: Facts, now: Callable[[], Moment]) -> None:
        self._facts = facts
        self._now = now
        self._entries: dict[str, Entry] = {}
        self._assignments: dict[str, Assignment] = {}

    async def load(self) -> None:
        """Reads what earlier lives knew; to be called once, before anything else.

        Raises:
            JournalUnavailable: the disk cannot be read.
        """
        document = _read(_Document, await self._facts.state(STATE_KEY)) or _Document()
        now = self._now()
        for hotkey, entry in document.validators.items():
            entry.cooldown = entry.cooldown.carried(now)
            if entry.task_id is not None:
                found = _read(Assignment, await self._facts.state(_task_key(hotkey)))
                if found is not None and (found.validator, found.id) == (hotkey, entry.task_id):
                    self._assignments[hotkey] = found
                else:
                    entry.task_id = None
            self._entries[hotkey] = entry

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(tuple(self._entries.items()))

    def entry(self, hotkey: str) -> Entry:
        """What is known of a validator; a new entry where nothing is."""
        entry = self._entries.get(hotkey)
        if entry is None:
            entry = self._entries[hotkey] = Entry(cooldown=Cooldown.none(self._now()))
        return entry

    def assignment(self, hotkey: str) -> Assignment | None:
        """The task in hand."""
        return self._assignments.get(hotkey)

    @property
    def assignments(self) -> Mapping[str, Assignment]:
        """All tasks in hand, by hotkey."""
        return self._assignments

    def take(self, assignment: Assignment) -> None:
        """Notes a task as in hand."""
        hotkey = assignment.validator
        self._assignments[hotkey] = assignment
        self._facts.set_state(_task_key(hotkey), assignment.model_dump_json())
        entry = self.entry(hotkey)
        entry.task_id, entry.doubtful = assignment.id, False
        self.save()

    def close(self, hotkey: str) -> None:
        """Notes that the task is not in hand any more."""
        entry = self.entry(hotkey)
        entry.last_task_id, entry.task_id, entry.doubtful = entry.task_id, None, False
        if self._assignments.pop(hotkey, None) is not None:
            self._facts.set_state(_task_key(hotkey), "")
        self.save()

    def save(self) -> None:
        """Posts everything but the tasks to the journal."""
        self._facts.set_state(STATE_KEY, _Document(validators=self._entries).model_dump_json())

    def forget(self, known: Callable[[str], bool]) -> list[str]:
        """Drops hotkeys that have left the subnet and have nothing open, and returns them.

        Args:
            known: whether a hotkey is in the subnet.
        """
        now = self._now()
        gone = [
            hotkey
            for hotkey, entry in self._entries.items()
            if entry.task_id is None
            and not known(hotkey)
            and entry.cooldown.over(now)
            and (
                abs(now.wall - entry.heard_at) > FORGET_SECONDS or len(self._entries) > MAX_ENTRIES
            )
        ]
        for hotkey in gone:
            del self._entries[hotkey]
        if gone:
            self.save()
        return gone


def _task_key(hotkey: str) -> str:
    return f"{STATE_KEY}:{hotkey}"


def _read(kind: type[ModelT], text: str | None) -> ModelT | None:
    """What is kept; None where there is nothing, or nothing that can be read."""
    if not text:
        return None
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        log.error("pull_state_unreadable", kind=kind.__name__, reason=str(error).splitlines()[0])
        return None
