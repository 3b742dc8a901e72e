"""What admission's tests share: a clock held in the hand, a storage that crashes, signed claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from miner.admission.gate import Claim, Gate
from miner.admission.nonces import SECOND_NS, NonceTable
from miner.admission.peers import Peer, PeersSnapshot, PeersSource
from miner.admission.signature import Signer, new_hotkey
from miner.settings.admission import AdmissionSettings

START = 1_900_000_000.0
EMPTY_HASH = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"

MINER = new_hotkey(b"\x01" * 32)
VALIDATOR = new_hotkey(b"\x02" * 32)
STRANGER = new_hotkey(b"\x03" * 32)


class Clock:
    """Seconds that pass when they are told to; wall and monotonic at once."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def ns(self) -> int:
        """The same moment as unix nanoseconds."""
        return int(self.now * SECOND_NS)


class Storage:
    """Remembers in order; what was not flushed yet is lost by a crash."""

    def __init__(self) -> None:
        self._disk: tuple[dict[str, tuple[int, float]], dict[str, str]] = ({}, {})
        self._seen: tuple[dict[str, tuple[int, float]], dict[str, str]] = ({}, {})
        self.forgotten_before: list[float] = []

    def remember_nonce(self, key: str, nonce: int, expires_at: float) -> None:
        self._seen[0][key] = (nonce, expires_at)

    async def nonces(self) -> list[tuple[str, int, float]]:
        self.flush()
        return [(key, nonce, expires) for key, (nonce, expires) in self._seen[0].items()]

    def forget_nonces(self, before: float) -> None:
        self.forgotten_before.append(before)
        for key in [k for k, (_, expires) in self._seen[0].items() if expires < before]:
            del self._seen[0][key]

    async def state(self, key: str) -> str | None:
        return self._seen[1].get(key)

    def set_state(self, key: str, value: str) -> None:
        self._seen[1][key] = value

    def flush(self) -> None:
        """What was seen is on disk."""
        self._disk = (dict(self._seen[0]), dict(self._seen[1]))

    def crash(self) -> None:
        """What was not flushed never was."""
        self._seen = (dict(self._disk[0]), dict(self._disk[1]))


def sign(claim: Claim, signer: Signer, receiver: str = MINER.ss58_address) -> Claim:
    """The claim with the signer's signature over what it says."""
    parts = (claim.nonce, claim.hotkey, receiver, claim.uuid, claim.body_hash)
    message = ".".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return replace(claim, signature="0x" + signer.sign(message).hex())


def claim(signer: Signer, nonce: int, uuid: str = "one", **changes: Any) -> Claim:
    """A signed claim of a request to the miner; ``changes`` are made before it is signed."""
    plain = Claim(
        hotkey=signer.ss58_address,
        nonce=nonce,
        uuid=uuid,
        signature=None,
        body_hash=EMPTY_HASH,
        timeout_seconds=12.0,
        version=10_005_000,
        receiver=MINER.ss58_address,
        address="192.0.2.1",
    )
    return sign(replace(plain, **changes), signer)


class Door:
    """A gate with one validator behind it and every part of it at hand."""

    def __init__(self, *peers: Peer, taken_at: float | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.settings = AdmissionSettings(**settings)
        known = peers or (Peer(VALIDATOR.ss58_address, 7, 5000.0, validator_permit=True),)
        self.source = PeersSource(PeersSnapshot.of(*known, taken_at=taken_at))
        self.nonces = NonceTable(self.settings, wall_clock_ns=self.clock.ns)
        self.gate = Gate(
            MINER.ss58_address, self.settings, self.source, self.nonces, clock=self.clock
        )
