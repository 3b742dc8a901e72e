"""Who may be asked, and whose turn it is."""

from __future__ import annotations

from collections import Counter

from miner.admission.peers import Peer, PeersSnapshot
from miner.network.puller.choice import Turns, eligible
from miner.settings.pull import PullSettings


def peer(name: str, stake: float = 5000.0, axon: str | None = "192.0.2.1:1") -> Peer:
    """One with a short name for a hotkey, and no permit."""
    return Peer(name, 1, stake, validator_permit=False, axon=axon)


def names(*peers: Peer, **settings: object) -> list[str]:
    """The hotkeys that may be asked."""
    chosen = eligible(PeersSnapshot.of(*peers), "us", PullSettings(**settings))  # type: ignore[arg-type]
    return [each.hotkey for each in chosen]


def test_a_validator_serves_and_has_stake() -> None:
    """Permits are not asked for; ourselves we do not ask."""
    peers = (
        *(peer("a"), peer("poor", stake=999.0), peer("rich", stake=1000.0)),
        *(peer("silent", axon=None), peer("us")),
    )

    assert names(*peers) == ["a", "rich"]


def test_named_validators_are_the_only_ones() -> None:
    """Whatever their stake; they must serve all the same."""
    peers = peer("a"), peer("poor", stake=0.0), peer("silent", axon=None)

    assert names(*peers, validators=("poor", "silent")) == ["poor"]


def test_denied_ones_are_never_asked() -> None:
    """Even if they are named as wanted."""
    assert names(peer("a"), peer("b"), deny=("a",)) == ["b"]
    assert names(peer("a"), peer("b"), validators=("a",), deny=("a",)) == []


def test_whoever_waits_longest_is_next() -> None:
    """Of two that wait alike, the larger stake."""
    waiting = {"a": 10.0, "b": 20.0, "c": 20.0}
    peers = [peer("a"), peer("b"), peer("c", stake=9000.0)]
    turns = Turns(PullSettings())

    chosen = turns.next(peers, lambda each: waiting[each.hotkey])

    assert chosen is not None
    assert chosen.hotkey == "c"
    assert turns.next([], lambda each: 0.0) is None


def rounds(owner_share: int, count: int = 100) -> Counter[str]:
    """Who gets so many turns, if all are always ready."""
    settings = PullSettings(owner_hotkey="owner", owner_share=owner_share)
    turns = Turns(settings)
    since = {"a": 0, "b": 0, "owner": 0}
    seen: Counter[str] = Counter()
    for now in range(count):
        chosen = turns.next(map(peer, since), lambda each: -since[each.hotkey])
        assert chosen is not None
        since[chosen.hotkey] = now
        seen[chosen.hotkey] += 1
        turns.taken()
    return seen


def test_the_owner_has_its_share() -> None:
    """Every turn of a fifth is the owner's, and the rest is shared as among equals."""
    assert rounds(1)["owner"] == 100
    assert 20 <= rounds(5)["owner"] <= 60
    without = rounds(0)

    assert max(without.values()) - min(without.values()) <= 1


def test_a_turn_that_was_not_taken_is_the_next_one() -> None:
    """Where there was no room, the owner keeps its turn."""
    turns = Turns(PullSettings(owner_hotkey="owner", owner_share=2))
    turns.taken()

    for _ in range(3):
        chosen = turns.next([peer("a", 9e9), peer("owner")], lambda each: 0.0)
        assert chosen is not None
        assert chosen.hotkey == "owner"


def test_an_owner_that_is_not_ready_holds_up_nobody() -> None:
    """Its turn goes to whoever waits."""
    turns = Turns(PullSettings(owner_hotkey="owner", owner_share=1))

    chosen = turns.next([peer("a")], lambda each: 0.0)

    assert chosen is not None
    assert chosen.hotkey == "a"
