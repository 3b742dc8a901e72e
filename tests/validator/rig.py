"""What the tests of the validator share: a clock to turn, a sound splat, a miner that signs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from miner import encoder
from miner.admission.peers import Peer, PeersSnapshot
from miner.admission.signature import Signer, new_hotkey
from miner.geometry.gaussians import Gaussians, from_activated
from miner.network.dendrite import Dendrite
from miner.network.subnet import (
    PullTask,
    SubmitResults,
    SubnetTask,
    TextTask,
    submission_message,
)
from miner.validator.judge import Scorer, full_marks
from miner.validator.ledger import Ledger
from miner.validator.rules import Rules
from miner.validator.serve import serve_validator
from miner.validator.service import ValidatorService

VALIDATOR = new_hotkey(b"V" * 32)
MINER = new_hotkey(b"M" * 32)
OTHER = new_hotkey(b"O" * 32)
STRANGER = new_hotkey(b"S" * 32)

PEERS = PeersSnapshot.of(
    Peer(hotkey=MINER.ss58_address, uid=1, stake=0.0, validator_permit=False),
    Peer(hotkey=OTHER.ss58_address, uid=2, stake=5000.0, validator_permit=True),
)

START = 1_760_000_000.25
"""Unix seconds; the fraction shows what is rounded."""


class WallClock:
    """Stands until it is turned, also back."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def numbered(number: int) -> SubnetTask | None:
    """An endless source of texts that say their number."""
    return TextTask(id=f"task-{number}", prompt=f"cube number {number}")


@dataclass
class Books:
    """A ledger with its clock and its metagraph."""

    rules: Rules = field(default_factory=Rules)
    clock: WallClock = field(default_factory=WallClock)
    uids: dict[str, int] = field(default_factory=lambda: {"alice": 1, "bob": 2})
    tasks: Callable[[int], SubnetTask | None] = numbered

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.tasks, self.uids.get, self.rules, self.clock)

    def restart(self) -> None:
        """Another life of the ledger with what it had written down."""
        state = type(self.ledger.state).model_validate_json(self.ledger.state.model_dump_json())
        self.ledger = Ledger(self.tasks, self.uids.get, self.rules, self.clock, state)


@cache
def sound_splat() -> Gaussians:
    """The least that passes the gate: turned Gaussians in a ball of diameter 1.5."""
    rng = np.random.default_rng(5)
    points = rng.standard_normal((7_000, 3))
    points *= 0.75 * rng.random((7_000, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    points[:6] = np.concatenate([np.eye(3), -np.eye(3)]) * 0.75
    return from_activated(
        points.astype(np.float32),
        rng.uniform(0.002, 0.02, (7_000, 3)).astype(np.float32),
        rng.standard_normal((7_000, 4)).astype(np.float32),
        rng.uniform(0.5, 0.99, 7_000).astype(np.float32),
        rng.random((7_000, 3)).astype(np.float32),
    )


@cache
def sound_results() -> str:
    """That splat as a miner submits it."""
    return b64encode(encoder.encode(sound_splat(), "spz")).decode()


def submission(
    task: SubnetTask,
    results: str | None = None,
    signer: Signer = MINER,
    validator: str = VALIDATOR.ss58_address,
    submit_time: int = 1_760_000_000_000_000_000,
) -> SubmitResults:
    """An honestly signed result."""
    message = submission_message(submit_time, task.prompt, validator, signer.ss58_address)
    return SubmitResults(
        task_id=task.id,
        results=sound_results() if results is None else results,
        submit_time=submit_time,
        signature=b64encode(signer.sign(message)).decode(),
    )


@dataclass
class Rig:
    """A validator that listens, and what stands behind it."""

    address: str
    service: ValidatorService
    clock: WallClock

    @property
    def ledger(self) -> Ledger:
        return self.service.ledger

    async def pull(self, signer: Signer = MINER) -> PullTask:
        """A pull by our client."""
        async with Dendrite(signer) as dendrite:
            return await dendrite.call(self.address, VALIDATOR.ss58_address, PullTask())

    async def submit(
        self,
        result: SubmitResults,
        signer: Signer = MINER,
        seconds: float = 20.0,
    ) -> SubmitResults:
        """A submission by our client."""
        async with Dendrite(signer) as dendrite:
            return await dendrite.call(self.address, VALIDATOR.ss58_address, result, seconds)

    async def task(self, signer: Signer = MINER) -> SubnetTask:
        """A task that is pulled."""
        task = (await self.pull(signer)).task
        assert task is not None
        return task


@asynccontextmanager
async def validator_rig(
    scorer: Scorer = full_marks,
    rules: Rules | None = None,
    tasks: Callable[[int], SubnetTask | None] = numbered,
    **options: Callable[..., None],
) -> AsyncIterator[Rig]:
    """A validator on a free port of the loopback, with a clock that is turned by hand."""
    clock = WallClock()
    uids: Mapping[str, int] = {peer.hotkey: peer.uid for peer in PEERS.peers.values()}
    ledger = Ledger(tasks, uids.get, rules, clock)
    service = ValidatorService(VALIDATOR.ss58_address, ledger, lambda: PEERS, scorer, **options)
    async with serve_validator(VALIDATOR, service, lambda: PEERS) as listening:
        yield Rig(f"{listening.host}:{listening.port}", service, clock)
