"""What is known of validators outlives the process, and what cannot be read does no harm."""

from __future__ import annotations

import asyncio

from miner.network.puller.book import FORGET_SECONDS, Book
from miner.network.puller.clocks import Moment
from miner.network.puller.cooldowns import Cooldown
from miner.network.puller.tasks import Assignment
from miner.network.subnet import Feedback

TASK = Assignment(validator="a", id="1", kind="image", prompt="iVBORw==", threshold=0.6)


class Facts:
    """A journal's facts in memory, and a clock."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.moment = Moment(1000.0, 1_900_000_000.0, "one")

    async def state(self, key: str) -> str | None:
        return self.facts.get(key)

    def set_state(self, key: str, value: str) -> None:
        self.facts[key] = value

    def now(self) -> Moment:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment = Moment(self.moment.steady + seconds, self.moment.wall + seconds, "one")


async def opened(facts: Facts) -> Book:
    """The book as another life finds it."""
    book = Book(facts, facts.now)
    await book.load()
    return book


async def test_entries_and_tasks_are_found_again() -> None:
    """By another life, as they were."""
    facts = Facts()
    book = await opened(facts)
    entry = book.entry("a")
    entry.cooldown, entry.accepted = Cooldown.kept(300.0, facts.now()), 7
    entry.feedback = Feedback(task_fidelity_score=0.7)
    book.take(TASK)
    entry.doubtful = True
    book.save()

    again = await opened(facts)

    assert again.assignment("a") == TASK
    assert again.entry("a") == entry


async def test_a_closed_task_is_gone() -> None:
    """Also its picture, which may be large; its name is remembered."""
    facts = Facts()
    book = await opened(facts)
    book.take(TASK)
    book.close("a")

    again = await opened(facts)

    assert again.assignment("a") is None
    assert again.entry("a").last_task_id == "1"
    assert facts.facts["pull:a"] == ""


async def test_what_cannot_be_read_counts_as_nothing() -> None:
    """A damaged document, and a task that is another than the document says."""
    facts = Facts()
    facts.facts["pull"] = "{]"
    assert list(await opened(facts)) == []

    book = await opened(facts)
    book.take(TASK)
    facts.facts["pull:a"] = TASK.model_copy(update={"id": "2"}).model_dump_json()

    assert (await opened(facts)).assignment("a") is None


async def test_who_left_is_forgotten_a_week_after_its_last_word() -> None:
    """But not while it holds a task of ours, or while its cooldown lasts."""
    facts = Facts()
    book = await opened(facts)
    for hotkey in ("a", "gone", "here", "waits"):
        book.entry(hotkey).heard_at = facts.now().wall
    book.take(TASK)
    facts.pass_by(FORGET_SECONDS - 1.0)
    assert book.forget(lambda hotkey: hotkey == "here") == []

    facts.pass_by(2.0)
    book.entry("waits").cooldown = Cooldown.kept(60.0, facts.now())

    assert book.forget(lambda hotkey: hotkey == "here") == ["gone"]
    assert [hotkey for hotkey, _ in await opened(facts)] == ["a", "here", "waits"]


async def test_many_strangers_do_not_make_it_grow() -> None:
    """Beyond a bound those that left go at once."""
    facts = Facts()
    book = await opened(facts)
    for number in range(1100):
        book.entry(str(number)).heard_at = facts.now().wall
    await asyncio.sleep(0)
    book.forget(lambda hotkey: False)

    assert len(list(book)) == 0
