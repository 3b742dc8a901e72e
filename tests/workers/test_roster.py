"""Who could take a job, against a walk over all workers."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from miner.workers.flights import MAX_FINISHING
from miner.workers.roster import ANY, Roster

HELD = st.sampled_from([None, ("a",), ("b",), ("a", "b"), ("c",)])
NAMES = ("a", "b", "c", "unknown", ANY)


@dataclass(eq=False)
class Seat:
    """A worker of the test."""

    holds: tuple[str, ...] | None = None
    in_hand: int = 0
    room: bool = True

    @property
    def capacity(self) -> int:
        return int(self.room and self.holds is not None)


class RosterMachine(RuleBasedStateMachine):
    """Workers come, work, change over and go."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = [Seat() for _ in range(6)]
        self.roster: Roster[Seat] = Roster()

    @rule(
        at=st.integers(0, 5), holds=HELD, in_hand=st.integers(0, MAX_FINISHING), room=st.booleans()
    )
    def change(self, at: int, holds: tuple[str, ...] | None, in_hand: int, room: bool) -> None:
        seat = self.seats[at]
        seat.holds, seat.in_hand, seat.room = holds, in_hand, room
        self.roster.look(seat)

    @rule(at=st.integers(0, 5))
    def nothing_new(self, at: int) -> None:
        self.roster.look(self.seats[at])

    @invariant()
    def as_a_walk_says(self) -> None:
        """Capacity, slots, names and the choice are those of a scan."""
        serving = [seat for seat in self.seats if seat.holds is not None]
        assert set(self.roster.generators) == {
            name for seat in serving for name in seat.holds or ()
        }
        for name in NAMES:
            known = [seat for seat in serving if name in (seat.holds or ())] or serving
            free = [seat for seat in known if seat.capacity]
            assert self.roster.slots(name) == len(known)
            assert self.roster.capacity(name) == len(free)
            if free:
                least = self.roster.least_loaded(name)
                assert least in free
                assert least.in_hand == min(seat.in_hand for seat in free)


TestRoster = RosterMachine.TestCase


def test_equals_take_turns() -> None:
    """Of workers with as many jobs in hand the one that has waited the longest is next."""
    roster: Roster[Seat] = Roster()
    seats = [Seat(("a",)) for _ in range(3)]
    for seat in seats:
        roster.look(seat)
    order = []
    for _ in range(6):
        seat = roster.least_loaded("a")
        order.append(seats.index(seat))
        seat.room = False
        roster.look(seat)
        seat.room = True
        roster.look(seat)

    assert order == [0, 1, 2, 0, 1, 2]
