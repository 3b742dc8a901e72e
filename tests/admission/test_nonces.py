"""The replay table: a nonce is good once, whatever the clock, the table's size and restarts do."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from miner.admission.nonces import SECOND_NS, SWEEP_SECONDS, NonceTable
from miner.errors import NotVerified
from miner.settings.admission import AdmissionSettings
from tests.admission.fakes import START, Clock, Storage

SETTINGS = AdmissionSettings(
    nonce_window_seconds=4.0,
    max_nonce_timeout_seconds=60.0,
    future_skew_seconds=4.0,
    max_nonces=100,
)
RETENTION_SECONDS = 64.0


def ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)


def offer(table: NonceTable, hotkey: str, uuid: str, nonce: int, timeout: float = 0.0) -> bool:
    """What the gate does: checks, then uses the nonce up. Whether it passed."""
    try:
        table.check_fresh(nonce, timeout)
        table.check_unused(hotkey, uuid, nonce)
    except NotVerified:
        return False
    table.remember(hotkey, uuid, nonce)
    return True


def make(clock: Clock, storage: Storage | None = None) -> NonceTable:
    return NonceTable(SETTINGS, storage, clock.ns)


@pytest.mark.parametrize(
    ("age", "timeout", "passes"),
    [
        (3.9, 0.0, True),
        (4.0, 0.0, False),
        (15.9, 12.0, True),
        (16.1, 12.0, False),
        (63.9, 1000.0, True),
        (64.1, 1000.0, False),
        (63.9, float("inf"), True),
        (4.1, float("nan"), False),
        (4.1, -5.0, False),
        (-3.9, 0.0, True),
        (-4.1, 0.0, False),
        (-4.1, 1000.0, False),
        (START, 0.0, False),
        (START + 10, 0.0, False),
        (-1e30, 0.0, False),
    ],
)
def test_the_window_is_bounded_on_both_sides(age: float, timeout: float, passes: bool) -> None:
    """A nonce may be as old as the window and the timeout, which is capped, and little ahead."""
    table = make(clock := Clock())
    nonce = ns(clock.now) - ns(age)

    assert offer(table, "a", "u", nonce, timeout) is passes


def test_a_nonce_is_good_once() -> None:
    """The same nonce, or an older one, of the same hotkey and uuid is refused."""
    table = make(clock := Clock())

    assert offer(table, "a", "u", clock.ns())
    assert not offer(table, "a", "u", clock.ns())
    assert not offer(table, "a", "u", clock.ns() - 1)
    assert offer(table, "a", "u", clock.ns() + 1)


def test_uuids_and_hotkeys_do_not_share() -> None:
    """An older nonce passes under another uuid, and under another hotkey."""
    table = make(clock := Clock())
    offer(table, "a", "u", clock.ns())

    assert offer(table, "a", "v", clock.ns() - 5)
    assert offer(table, "b", "u", clock.ns() - 5)


def test_a_longer_timeout_does_not_revive_a_used_nonce() -> None:
    """What passed with a short timeout is refused to the end of the longest window there is."""
    table = make(clock := Clock())
    nonce = clock.ns()
    assert offer(table, "a", "u", nonce, 1.0)
    for _ in range(80):
        clock.now += 1.0
        offer(table, "a", f"other {clock.now}", clock.ns())

        assert not offer(table, "a", "u", nonce, 1000.0)


def test_entries_expire() -> None:
    """What could not pass any more leaves the table and the storage."""
    storage = Storage()
    table = make(clock := Clock(), storage)
    for number in range(50):
        offer(table, f"hotkey {number}", "u", clock.ns())
    clock.now += RETENTION_SECONDS + SWEEP_SECONDS
    offer(table, "last", "u", clock.ns())

    assert len(table) == 1
    assert len(asyncio.run(storage.nonces())) == 1


def test_a_clock_set_back_revives_nothing() -> None:
    """What was forgotten as expired stays refused when our clock was wrong and is put right."""
    table = make(clock := Clock())
    nonce = clock.ns()
    offer(table, "a", "u", nonce)
    clock.now += 3600.0
    offer(table, "b", "u", clock.ns())
    clock.now -= 3600.0

    assert not offer(table, "a", "u", nonce)
    assert offer(table, "a", "v", nonce + 1)


def test_a_flood_narrows_only_the_flooders_window() -> None:
    """With the table full, others still pass with nonces older than the flood's."""
    table = make(clock := Clock())
    nonces = [ns(START - 3) + number for number in range(1000)]
    for number, nonce in enumerate(nonces):
        assert offer(table, "flooder", str(number), nonce)

    assert len(table) == SETTINGS.max_nonces
    assert offer(table, "honest", "u", ns(START - 3.5))
    assert not any(offer(table, "flooder", str(i), nonce) for i, nonce in enumerate(nonces))
    assert offer(table, "flooder", "new", clock.ns())


async def test_nonces_survive_a_clean_restart() -> None:
    """After a stop and a start what was used stays used, and all else passes at once."""
    storage, clock = Storage(), Clock()
    table = await NonceTable.open(SETTINGS, storage, clock.ns)
    clock.now += 1.0
    used = clock.ns()
    assert offer(table, "a", "u:with:colons", used)
    table.close()
    table = await NonceTable.open(SETTINGS, storage, clock.ns)

    assert not offer(table, "a", "u:with:colons", used)
    assert offer(table, "a", "v", used - 1)


async def test_after_a_crash_nothing_from_before_passes() -> None:
    """A nonce whose record the crash lost is refused, and so is all that could be one."""
    storage, clock = Storage(), Clock()
    table = await NonceTable.open(SETTINGS, storage, clock.ns)
    storage.flush()
    clock.now += 1.0
    ahead = ns(clock.now + 3.9)
    assert offer(table, "a", "u", ahead)
    storage.crash()
    table = await NonceTable.open(SETTINGS, storage, clock.ns)

    assert not offer(table, "a", "u", ahead)
    assert not offer(table, "a", "v", clock.ns())
    clock.now += 4.1
    assert offer(table, "a", "v", clock.ns())


async def test_a_life_that_crashes_twice_stays_unclean() -> None:
    """A crash while starting leaves the mark of the first one."""
    storage, clock = Storage(), Clock()
    await NonceTable.open(SETTINGS, storage, clock.ns)
    storage.flush()
    for _ in range(2):
        clock.now += 1.0
        table = await NonceTable.open(SETTINGS, storage, clock.ns)

        assert not offer(table, "a", "u", clock.ns())


async def test_a_start_with_a_wrong_clock_shuts_nobody_out_for_long() -> None:
    """After a crash and a start an hour ahead, the clock put right lets honest callers in."""
    storage, clock = Storage(), Clock()
    await NonceTable.open(SETTINGS, storage, clock.ns)
    clock.now += 3600.0
    table = await NonceTable.open(SETTINGS, storage, clock.ns)
    clock.now -= 3590.0

    assert offer(table, "a", "u", clock.ns())
    table.close()
    assert offer(await NonceTable.open(SETTINGS, storage, clock.ns), "a", "v", clock.ns())


async def test_an_empty_folder_starts_at_once() -> None:
    """Without any earlier life only what was signed before the start is refused."""
    clock = Clock()
    table = await NonceTable.open(SETTINGS, Storage(), clock.ns)

    assert not offer(table, "a", "u", clock.ns())
    assert offer(table, "a", "u", clock.ns() + 1)


async def test_a_full_storage_comes_back_within_the_bound() -> None:
    """More entries than the table holds are read, and the surplus stays refused."""
    storage, clock = Storage(), Clock()
    table = await NonceTable.open(SETTINGS, storage, clock.ns)
    clock.now += 1.0
    nonces = [clock.ns() + number for number in range(300)]
    for number, nonce in enumerate(nonces):
        assert offer(table, "a", str(number), nonce)
    table.close()
    table = await NonceTable.open(SETTINGS, storage, clock.ns)

    assert len(table) == SETTINGS.max_nonces
    assert not any(offer(table, "a", str(number), nonce) for number, nonce in enumerate(nonces))


@given(st.text(max_size=30))
def test_any_mark_of_the_last_life_can_be_read(mark: str) -> None:
    """A damaged mark counts as an unclean end, never as an error."""
    storage, clock = Storage(), Clock()
    storage.set_state("admission.nonces", mark)
    table = asyncio.run(NonceTable.open(SETTINGS, storage, clock.ns))

    assert offer(table, "a", "u", ns(clock.now + 4.0)) in (True, False)


class Replays(RuleBasedStateMachine):
    """Any order of requests, clock changes, full tables, stops and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.storage = Storage()
        self.settings = SETTINGS.model_copy(update={"max_nonces": 8})
        self.table = self._open()
        self.accepted: set[tuple[str, str, int]] = set()
        self.unflushed_until = 0.0
        self.latest = self.clock.now

    def _open(self) -> NonceTable:
        return asyncio.run(NonceTable.open(self.settings, self.storage, self.clock.ns))

    @rule(
        hotkey=st.sampled_from("abc"),
        uuid=st.sampled_from("uvwxyz") | st.integers(0, 30).map(str),
        ahead=st.floats(-80.0, 6.0),
        timeout=st.sampled_from([0.0, 12.0, 60.0, 1e6]),
    )
    def request(self, hotkey: str, uuid: str, ahead: float, timeout: float) -> None:
        self._offer((hotkey, uuid, ns(self.clock.now + ahead)), timeout)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), timeout=st.sampled_from([0.0, 12.0, 60.0, 1e6]))
    def replay(self, data: st.DataObject, timeout: float) -> None:
        """Offers what passed before: the case that must fail."""
        self._offer(data.draw(st.sampled_from(sorted(self.accepted))), timeout)

    def _offer(self, key: tuple[str, str, int], timeout: float) -> None:
        if offer(self.table, *key, timeout):
            assert key not in self.accepted, "a nonce passed twice"
            self.accepted.add(key)
            self.unflushed_until = max(self.unflushed_until, self.clock.now)

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.latest = max(self.latest, self.clock.now)

    @rule(seconds=st.floats(0.0, 60.0))
    def set_clock_back(self, seconds: float) -> None:
        # The limit that the module states: by less than a nonce's life.
        self.clock.now = max(self.clock.now - seconds, self.latest - 60.0)

    @rule()
    def flush(self) -> None:
        self.storage.flush()
        self.unflushed_until = 0.0

    @rule()
    def restart(self) -> None:
        self.table.close()
        self.table = self._open()

    @rule()
    def crash(self) -> None:
        # The other limit: no clock set back across what the crash loses.
        if self.clock.now < self.unflushed_until:
            self.flush()
        self.storage.crash()
        self.unflushed_until = 0.0
        self.table = self._open()

    @invariant()
    def bounded(self) -> None:
        assert len(self.table) <= 8


TestReplays = Replays.TestCase
TestReplays.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
