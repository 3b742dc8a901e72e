"""The gate: each reason to refuse, in its order, and what a refusal leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.admission.gate import Claim
from miner.admission.peers import Peer, PeersSnapshot
from miner.errors import (
    MinerError,
    NotPermitted,
    NotReady,
    NotVerified,
    RateLimited,
    Unsigned,
)
from miner.settings.admission import AdmissionSettings
from tests.admission.fakes import MINER, STRANGER, VALIDATOR, Door, claim, sign

HOTKEY = VALIDATOR.ss58_address


def test_a_signed_and_permitted_request_comes_in() -> None:
    """The peer whose hotkey signed is what the gate answers."""
    door = Door()

    assert door.gate.admit(claim(VALIDATOR, door.clock.ns())).uid == 7


def test_the_receiver_may_be_left_out() -> None:
    """Without a receiver's header the signature alone says whom it is for."""
    door = Door()

    assert door.gate.admit(claim(VALIDATOR, door.clock.ns(), receiver=None)).hotkey == HOTKEY


@pytest.mark.parametrize("field", ["hotkey", "nonce", "uuid", "signature"])
@pytest.mark.parametrize("version", [None, 0, 7_001_999, 10_005_000])
def test_nothing_required_may_be_missing(field: str, version: int | None) -> None:
    """Without hotkey, nonce, uuid or signature a request is unsigned, of whatever version."""
    door = Door()
    whole = claim(VALIDATOR, door.clock.ns(), version=version)
    for absent in (None,) if field == "nonce" else (None, ""):
        changes: dict[str, Any] = {field: absent}
        with pytest.raises(Unsigned):
            door.gate.admit(replace(whole, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": 1},
        {"uuid": "two"},
        {"body_hash": "00" * 32},
        {"body_hash": ""},
        {"hotkey": STRANGER.ss58_address},
        {"signature": "0x" + "00" * 64},
    ],
)
def test_what_was_signed_cannot_be_changed(changes: dict[str, Any]) -> None:
    """Any part of the message that differs from what was signed breaks the signature."""
    door = Door()
    whole = claim(VALIDATOR, door.clock.ns())
    changed = replace(whole, **({"nonce": door.clock.ns() - 1} if "nonce" in changes else changes))
    with pytest.raises(NotVerified, match="Signature mismatch"):
        door.gate.admit(changed)


def test_a_request_for_another_is_refused() -> None:
    """Neither a foreign receiver in the headers nor one in the signed message comes in."""
    door = Door()
    with pytest.raises(NotVerified, match="another hotkey"):
        door.gate.admit(claim(VALIDATOR, door.clock.ns(), receiver=STRANGER.ss58_address))
    foreign = claim(VALIDATOR, door.clock.ns(), receiver=None)
    with pytest.raises(NotVerified, match="mismatch"):
        door.gate.admit(sign(foreign, VALIDATOR, receiver=STRANGER.ss58_address))


@pytest.mark.parametrize("version", [None, 0, 7_001_999, 10_005_000])
@pytest.mark.parametrize("age", [17.0, 1e6, -5.0, -3600.0])
def test_a_stale_or_future_nonce_is_refused_for_every_version(
    age: float, version: int | None
) -> None:
    """An old version header weakens no rule about nonces."""
    door = Door()
    nonce = door.clock.ns() - int(age * 1e9)
    with pytest.raises(NotVerified, match="Nonce"):
        door.gate.admit(claim(VALIDATOR, nonce, version=version))


def test_a_replay_is_refused() -> None:
    """The same claim comes in once, also with a longer timeout, which is not signed."""
    door = Door()
    first = claim(VALIDATOR, door.clock.ns())
    door.gate.admit(first)
    door.clock.now += 10.0
    for again in (first, replace(first, timeout_seconds=1e6)):
        with pytest.raises(NotVerified, match="used before"):
            door.gate.admit(again)


def test_a_signature_stands_for_one_split_of_its_message() -> None:
    """A dot may not wander between the uuid and the hash that stand beside it."""
    door = Door()
    with pytest.raises(NotVerified, match="uuid"):
        door.gate.admit(claim(VALIDATOR, door.clock.ns(), uuid="a.b"))
    with pytest.raises(NotVerified, match="body hash"):
        door.gate.admit(claim(VALIDATOR, door.clock.ns(), body_hash="a.b"))


PEER = Peer(HOTKEY, 7, 5000.0, validator_permit=True)


@pytest.mark.parametrize(
    ("peer", "settings", "says"),
    [
        (replace(PEER, hotkey=STRANGER.ss58_address), {}, "not registered"),
        (replace(PEER, hotkey=STRANGER.ss58_address), {"allow": (HOTKEY,)}, "not registered"),
        (replace(PEER, validator_permit=False), {}, "no validator permit"),
        (replace(PEER, stake=999.0), {}, "stake is 999, and 1000"),
        (PEER, {"deny": (HOTKEY,)}, "deny list"),
        (PEER, {"deny": (HOTKEY,), "allow": (HOTKEY,)}, "deny list"),
    ],
)
def test_who_is_not_permitted_is_told_why(peer: Peer, settings: dict[str, Any], says: str) -> None:
    """Each rule about who may come in refuses with its own reason, and enters no table."""
    door = Door(peer, **settings)
    with pytest.raises(NotPermitted, match=says):
        door.gate.admit(claim(VALIDATOR, door.clock.ns()))

    assert len(door.nonces) == 0


@pytest.mark.parametrize(
    ("peer", "settings"),
    [
        (replace(PEER, stake=0.0, validator_permit=False), {"allow": (HOTKEY,)}),
        (replace(PEER, validator_permit=False), {"require_validator_permit": False}),
        (replace(PEER, stake=1000.0), {}),
        (replace(PEER, stake=1.0), {"min_stake": 1.0}),
    ],
)
def test_who_is_permitted_comes_in(peer: Peer, settings: dict[str, Any]) -> None:
    """The allow list replaces stake and permit, and the bounds are inclusive."""
    door = Door(peer, **settings)

    assert door.gate.admit(claim(VALIDATOR, door.clock.ns())) == peer


def test_whom_we_serve_is_told_to_those_who_signed_only() -> None:
    """An unverified request gets the same answer for a known and for an unknown hotkey."""
    door = Door(deny=(STRANGER.ss58_address,))
    answers = set()
    for signer in (VALIDATOR, STRANGER, MINER):
        with pytest.raises(NotVerified) as caught:
            door.gate.admit(replace(claim(signer, door.clock.ns()), signature="0x" + "11" * 64))
        answers.add(str(caught.value))

    assert len(answers) == 1


def test_peers_that_are_too_old_judge_nobody() -> None:
    """With a snapshot older than the bound, the fault is ours and said so."""
    door = Door(max_peers_age_seconds=100.0)
    start = door.clock.now
    door.source.replace(PeersSnapshot.of(PEER, taken_at=start))
    door.clock.now = start + 101.0
    with pytest.raises(NotReady, match="too old"):
        door.gate.admit(claim(VALIDATOR, door.clock.ns()))
    door.source.replace(PeersSnapshot.of(PEER, taken_at=start + 50.0))

    assert door.gate.admit(claim(VALIDATOR, door.clock.ns())) == PEER


def test_a_hotkey_has_a_rate() -> None:
    """Beyond its burst a hotkey is told to wait, and the same request passes when it has."""
    door = Door(requests_per_second_per_hotkey=1.0, burst_per_hotkey=3)
    claims = [claim(VALIDATOR, door.clock.ns() + number) for number in range(4)]
    for one in claims[:3]:
        door.gate.admit(one)
    with pytest.raises(RateLimited, match=r"1\.0 s"):
        door.gate.admit(claims[3])
    door.clock.now += 1.0

    assert door.gate.admit(claims[3]) == PEER


def test_nobody_can_use_up_the_rate_of_another() -> None:
    """Replays and forged requests in a validator's name take nothing from its bucket."""
    door = Door(requests_per_second_per_hotkey=1.0, burst_per_hotkey=2)
    first = claim(VALIDATOR, door.clock.ns())
    door.gate.admit(first)
    for number in range(50):
        with pytest.raises(NotVerified):
            door.gate.admit(first)
        with pytest.raises(NotVerified):
            door.gate.admit(replace(first, nonce=door.clock.ns() + number))

    assert door.gate.admit(claim(VALIDATOR, door.clock.ns() + 100)) == PEER


def test_new_settings_hold_from_now_on() -> None:
    """Lists, rates and bounds can be changed while requests come; used nonces stay used."""
    door = Door(requests_per_second_per_hotkey=1.0, burst_per_hotkey=1)
    first = claim(VALIDATOR, door.clock.ns())
    door.gate.admit(first)
    door.gate.reconfigure(AdmissionSettings(burst_per_hotkey=10))
    assert door.gate.admit(claim(VALIDATOR, door.clock.ns() + 1)) == PEER
    with pytest.raises(NotVerified):
        door.gate.admit(first)
    for settings, says in (({"deny": (HOTKEY,)}, "deny"), ({"min_stake": 6000.0}, "stake")):
        door.gate.reconfigure(AdmissionSettings(**settings))
        with pytest.raises(NotPermitted, match=says):
            door.gate.admit(claim(VALIDATOR, door.clock.ns() + 2))


@pytest.mark.parametrize(
    ("addresses", "shared"),
    [
        (("192.0.2.1", "192.0.2.2"), False),
        (("192.0.2.1", "::ffff:192.0.2.1"), True),
        (("2001:db8::1", "2001:db8::ffff:2"), True),
        (("2001:db8::1", "2001:db8:0:1::1"), False),
        (("fe80::1%eth0", "fe80::2%eth1"), True),
        (("", "not an address: at all"), False),
    ],
)
def test_an_address_has_a_rate(addresses: tuple[str, str], shared: bool) -> None:
    """One subscriber's addresses share a bucket; those of different ones do not."""
    door = Door(requests_per_second_per_address=1.0, burst_per_address=1)
    door.gate.check_address(addresses[0])
    if shared:
        with pytest.raises(RateLimited):
            door.gate.check_address(addresses[1])
    else:
        door.gate.check_address(addresses[1])


TEXT = st.none() | st.text(st.characters(exclude_categories=()), max_size=80)


@given(
    st.builds(
        Claim,
        hotkey=TEXT | st.just(HOTKEY),
        nonce=st.none()
        | st.integers()
        | st.integers(-(10**9), 10**9).map(lambda n: n + 19 * 10**17),
        uuid=TEXT,
        signature=TEXT | st.text("0123456789abcdef", min_size=128, max_size=128).map("0x".__add__),
        body_hash=st.text(max_size=70) | st.just("00" * 32),
        timeout_seconds=st.none() | st.floats(),
        version=st.none() | st.integers(),
        receiver=TEXT | st.just(MINER.ss58_address),
        address=st.text(max_size=40),
    )
)
def test_garbage_is_refused_by_our_errors(garbage: Claim) -> None:
    """Whatever stands in the headers, the refusal is one of ours and below 500."""
    door = Door()
    door.gate.check_address(garbage.address)
    with pytest.raises(MinerError) as caught:
        door.gate.admit(garbage)

    assert caught.value.status == 401
