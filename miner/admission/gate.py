"""The gate: may this signed request come in, and as whom?

Everything is decided from the request's headers, before its body is read; that the body is the one
whose hash was signed is checked by whoever reads it. The order is chosen so that nobody who cannot
sign costs more than a signature check, nobody unverified learns whom we serve, and nobody who is
not permitted enters a table. Nothing waits; one event loop.
"""

from __future__ import annotations

import ipaddress
import string
import time
from collections.abc import Callable
from dataclasses import dataclass

from miner.admission.nonces import NonceTable
from miner.admission.peers import Peer, PeersSnapshot, PeersSource
from miner.admission.rate import TokenBuckets
from miner.admission.signature import Signer, verify
from miner.errors import NotPermitted, NotReady, NotVerified, RateLimited, Unsigned
from miner.settings.admission import AdmissionSettings

__all__ = ["Claim", "Gate", "NonceTable", "Peer", "PeersSnapshot", "PeersSource", "Signer"]

MAX_ADDRESSES = 16_384
MAX_HOTKEYS = 4_096
"""Of the tables of rates; a subnet has a few hundred hotkeys."""
MAX_UUID_CHARACTERS = 64
UUID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_")
HASH_CHARACTERS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Claim:
    """What a request's headers claim, not yet believed. None where the header is absent.

    Attributes:
        hotkey: the sender's ss58 address.
        nonce: the sender's wall clock in nanoseconds.
        uuid: the sender's name for its connection.
        signature: hex text with ``0x`` in front.
        body_hash: hex of the SHA3-256 that was signed; "" where absent.
        timeout_seconds: how long the sender will wait; not signed.
        version: of the sender's software; changes nothing here.
        receiver: the hotkey the request is meant for.
        address: the network address it came from.
    """

    hotkey: str | None
    nonce: int | None
    uuid: str | None
    signature: str | None
    body_hash: str = ""
    timeout_seconds: float | None = None
    version: int | None = None
    receiver: str | None = None
    address: str = ""


class Gate:
    """Admits requests addressed to one hotkey, ours."""

    def __init__(
        self,
        hotkey: str,
        settings: AdmissionSettings,
        peers: Callable[[], PeersSnapshot],
        nonces: NonceTable,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hotkey = hotkey
        self._peers = peers
        self._nonces = nonces
        self._clock = clock
        self._addresses = TokenBuckets(
            settings.requests_per_second_per_address,
            settings.burst_per_address,
            MAX_ADDRESSES,
            clock,
        )
        self._hotkeys = TokenBuckets(
            settings.requests_per_second_per_hotkey, settings.burst_per_hotkey, MAX_HOTKEYS, clock
        )
        self.reconfigure(settings)

    def reconfigure(self, settings: AdmissionSettings) -> None:
        """Lets new settings hold, but for those of the nonces, which were built in."""
        self._settings = settings
        self._allow = frozenset(settings.allow)
        self._deny = frozenset(settings.deny)
        self._addresses.set_rate(
            settings.requests_per_second_per_address, settings.burst_per_address
        )
        self._hotkeys.set_rate(settings.requests_per_second_per_hotkey, settings.burst_per_hotkey)

    def check_address(self, address: str) -> None:
        """Counts a request of this address; to be called before anything of it is parsed.

        Raises:
            RateLimited: too many of it.
        """
        wait_seconds = self._addresses.take(_network(address))
        if wait_seconds:
            raise RateLimited(f"too many requests; try again in {wait_seconds:.1f} s")

    def admit(self, claim: Claim) -> Peer:
        """Who signed the request, once; a second call with the same claim is a replay.

        Raises:
            Unsigned: no hotkey, signature, nonce or uuid.
            NotVerified: meant for another, not fresh, not so signed, or used before.
            NotPermitted: denied, not registered, without permit or with too little stake.
            RateLimited: too many of this hotkey; the request was not used up.
            NotReady: the peers we know are too old to judge by.
        """
        hotkey, nonce, uuid, signature = _present(claim)
        if claim.receiver and claim.receiver != self._hotkey:
            raise NotVerified("the request is meant for another hotkey")
        self._nonces.check_fresh(nonce, claim.timeout_seconds or 0.0)
        message = f"{nonce}.{hotkey}.{self._hotkey}.{uuid}.{claim.body_hash}"
        if not verify(hotkey, message.encode(), signature):
            raise NotVerified("Signature mismatch")
        peer = self._permitted(hotkey)
        self._nonces.check_unused(hotkey, uuid, nonce)
        wait_seconds = self._hotkeys.take(hotkey)
        if wait_seconds:
            raise RateLimited(f"too many requests; try again in {wait_seconds:.1f} s")
        self._nonces.remember(hotkey, uuid, nonce)
        return peer

    def _permitted(self, hotkey: str) -> Peer:
        if hotkey in self._deny:
            raise NotPermitted("the hotkey is on the deny list")
        snapshot = self._peers()
        if snapshot.age_seconds(self._clock()) > self._settings.max_peers_age_seconds:
            raise NotReady("the list of the subnet's peers is too old to judge by")
        peer = snapshot.get(hotkey)
        if peer is None:
            raise NotPermitted("the hotkey is not registered on the subnet")
        if hotkey in self._allow:
            return peer
        if self._settings.require_validator_permit and not peer.validator_permit:
            raise NotPermitted("the hotkey has no validator permit")
        if peer.stake < self._settings.min_stake:
            raise NotPermitted(
                f"the stake is {peer.stake:.0f}, and {self._settings.min_stake:.0f} is the least"
            )
        return peer


def _present(claim: Claim) -> tuple[str, int, str, str]:
    """The parts that every request must have, in a shape that makes the signed message unique.

    The message joins its parts with dots and does not escape them: a dot inside the uuid would let
    one signature stand for two requests.
    """
    if not claim.hotkey:
        raise Unsigned("Missing Hotkey")
    if not claim.signature:
        raise Unsigned("Missing Signature")
    if claim.nonce is None:
        raise Unsigned("Missing Nonce")
    if not claim.uuid:
        raise Unsigned("Missing UUID")
    if not (claim.hotkey.isascii() and claim.hotkey.isalnum()):
        raise NotVerified("the hotkey is not an ss58 address")
    if len(claim.uuid) > MAX_UUID_CHARACTERS or not UUID_CHARACTERS.issuperset(claim.uuid):
        raise NotVerified("the uuid is not one")
    if not HASH_CHARACTERS.issuperset(claim.body_hash):
        raise NotVerified("the body hash is not one")
    return claim.hotkey, claim.nonce, claim.uuid, claim.signature


def _network(address: str) -> str:
    """What counts as one address: for IPv6 the /64, all of which one subscriber owns."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:8].hex()
