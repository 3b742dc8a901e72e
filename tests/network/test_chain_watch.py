"""Watching the chain: fresh peers, our standing, and every way in which a chain fails us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.admission.gate import Gate
from miner.admission.nonces import NonceTable
from miner.admission.peers import PeersSnapshot, PeersSource
from miner.errors import ChainError, NotPermitted, NotReady
from miner.job import MAIN
from miner.metrics import Metrics
from miner.network.chain_memory import KEY, ChainMemory
from miner.network.chain_reading import Reading
from miner.network.chain_watch import (
    FORGET_SECONDS,
    MAX_BACK_BLOCKS,
    MAX_READINGS,
    STALL_SECONDS,
    Chain,
    ChainWatch,
    Clocks,
)
from miner.settings import AdmissionSettings, ChainSettings
from tests.network.fake_chain import (
    MINER,
    VALIDATORS,
    ScriptedChain,
    neuron,
    usual_reading,
    without_us,
)

CHAIN = ChainSettings(network="finney", sync_seconds=600, retry_seconds=5, max_retry_seconds=300)
BLOCK_SECONDS = 12.0
MAX_AGE = 7200.0


class Facts:
    """The journal's small facts."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def state(self, key: str) -> str | None:
        return self.values.get(key)

    def set_state(self, key: str, value: str) -> None:
        self.values[key] = value


class Ended(Exception):
    """So many waits were enough."""


@dataclass
class Bench:
    """A watch with a clock that only its waits move.

    Attributes:
        chain: what is watched.
        waits: seconds waited so far.
        meanwhile: called with the count of each wait, before it.
    """

    chain: ScriptedChain
    now: float = 1000.0
    waits: list[float] = field(default_factory=list)
    limit: int = 1
    chance: float = 0.5
    memory: ChainMemory | None = None
    publisher: Any = None
    meanwhile: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self.source = PeersSource(PeersSnapshot.of(taken_at=float("-inf")))
        self.metrics = Metrics()
        ours = self.metrics.of(MAIN)
        clocks = Clocks(
            lambda: self.now, self._sleep, lambda low, high: low + self.chance * (high - low)
        )
        self.watch = ChainWatch(
            MINER.ss58_address,
            CHAIN,
            self.chain.connect,
            self.source,
            ours,
            self.memory,
            self.publisher,
            clocks,
        )

    async def _sleep(self, seconds: float) -> None:
        self.meanwhile(len(self.waits))
        self.waits.append(seconds)
        if len(self.waits) >= self.limit:
            raise Ended
        self.now += seconds

    async def turns(self, count: int) -> Bench:
        """Runs until so many attempts were made; the clock stands where the last one was."""
        self.limit = count
        with pytest.raises(Ended):
            await self.watch.run()
        return self

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def readings(count: int, start: int = 1000) -> list[Reading | ChainError]:
    """As an honest chain shows itself every ten minutes."""
    return [usual_reading(start + 50 * number) for number in range(count)]


async def test_each_reading_becomes_the_snapshot_in_use() -> None:
    """Peers come whole, dated when they were read, and a hotkey that has gone is gone."""
    newcomer = replace(
        usual_reading(1050), neurons=(neuron(VALIDATORS[2].ss58_address, 0, axon="8.8.8.8:1"),)
    )
    bench = await Bench(ScriptedChain([usual_reading(), newcomer])).turns(2)
    snapshot = bench.source()

    assert list(snapshot.peers) == [VALIDATORS[2].ss58_address]
    assert snapshot.age_seconds(bench.now + 5) == 5.0
    peer = snapshot.get(VALIDATORS[2].ss58_address)
    assert peer is not None
    assert peer.axon == "8.8.8.8:1"


async def test_our_standing_is_in_the_metrics_and_the_state() -> None:
    """Registration, place, rank, incentive, stake and immunity are told as last read."""
    bench = await Bench(ScriptedChain(readings(1))).turns(1)
    standing = bench.watch.state.standing

    assert standing is not None
    assert (standing.uid, standing.rank, standing.immune_blocks) == (7, 1, 100)
    values = ("registered", "uid", "rank", "incentive_ratio", "immunity_blocks", "chain_block")
    assert [bench.value(f"miner_{name}", identity=MAIN) for name in values] == [
        1,
        7,
        1,
        0.5,
        100,
        1000,
    ]
    assert bench.value("miner_chain_syncs_total", identity=MAIN, outcome="ok") == 1
    assert not bench.watch.troubles(MAX_AGE)


@pytest.mark.parametrize("chance", [0.0, 1.0])
async def test_waits_between_readings_are_jittered(chance: float) -> None:
    """Each wait is drawn around the interval, within the share that settings allow."""
    bench = await Bench(ScriptedChain(readings(3)), chance=chance).turns(3)

    assert bench.waits == [pytest.approx(600 * (0.9 + 0.2 * chance))] * 3


async def test_failures_are_retried_with_growing_waits_on_new_connections() -> None:
    """The wait doubles up to its limit and starts over; each failure costs its connection."""
    errors: list[Reading | ChainError] = [ChainError("gone")] * 9
    chain = ScriptedChain([*errors, usual_reading(), ChainError("again"), usual_reading(1100)])
    bench = await Bench(chain, chance=1.0).turns(11)

    assert bench.waits == [5, 10, 20, 40, 80, 160, 300, 300, 300, pytest.approx(660), 5]
    assert chain.opened == chain.closed == 10
    assert bench.watch.state.last_error == "again"
    assert bench.value("miner_chain_syncs_total", identity=MAIN, outcome="failed") == 10


async def test_a_chain_that_refuses_connections_is_retried() -> None:
    """It makes no difference whether connecting or reading fails."""
    chain = ScriptedChain([usual_reading()], refuses_to_connect=[ChainError("refused")] * 3)
    bench = await Bench(chain, chance=0.0).turns(4)

    assert bench.waits == [2.5, 5, 10, 540]
    assert bench.watch.state.failures == 0
    assert bench.watch.state.last_error is None
    assert bench.source().peers


async def test_peers_outlive_an_outage_for_a_bounded_time() -> None:
    """Through an outage requests are judged by the last snapshot, until it is too old; then 503."""
    chain = ScriptedChain([usual_reading(), ChainError("down")])
    bench = await Bench(chain, chance=1.0).turns(20)
    gate = _gate(bench)
    snapshot = bench.source()
    assert snapshot.taken_at == 1000.0

    bench.now = snapshot.taken_at + MAX_AGE - 1
    assert not bench.watch.troubles(MAX_AGE)
    with pytest.raises(NotPermitted):
        gate._permitted("5" + "F" * 47)
    bench.now = snapshot.taken_at + MAX_AGE + 1
    (trouble,) = bench.watch.troubles(MAX_AGE)
    assert "7201 s old: down" in trouble
    with pytest.raises(NotReady):
        gate._permitted(VALIDATORS[0].ss58_address)


def _gate(bench: Bench) -> Gate:
    settings = AdmissionSettings(max_peers_age_seconds=MAX_AGE)
    return Gate(MINER.ss58_address, settings, bench.source, NoNonces(), lambda: bench.now)


class NoNonces(NonceTable):
    """Not asked in these tests."""

    def __init__(self) -> None:
        pass


async def test_before_the_first_reading_nobody_is_refused_as_unknown() -> None:
    """A daemon that knows no peers yet says that it is not ready, not that others are strangers."""
    bench = await Bench(ScriptedChain([ChainError("no route")])).turns(1)
    gate = _gate(bench)
    (trouble,) = bench.watch.troubles(MAX_AGE)

    assert trouble == "the metagraph of netuid 17 was not read yet: no route"
    with pytest.raises(NotReady):
        gate._permitted(VALIDATORS[0].ss58_address)


async def test_deregistration_is_said_once_loudly_and_holds_readiness() -> None:
    """One error line, the metric and a reason; registered again, one line and no reason."""
    script = [usual_reading(), without_us(1050), without_us(1100), usual_reading(1150, uid=9)]
    bench = Bench(ScriptedChain(list(script)))
    reasons: list[list[str]] = []
    values: list[float | None] = []

    def look(_: int) -> None:
        reasons.append(bench.watch.troubles(MAX_AGE))
        values.append(bench.value("miner_registered", identity=MAIN))

    bench.meanwhile = look
    with structlog.testing.capture_logs() as lines:
        await bench.turns(4)

    told = [(line["log_level"], line["event"]) for line in lines]
    assert told == [("info", "registered"), ("error", "deregistered"), ("info", "registered")]
    assert lines[1]["hotkey"] == MINER.ss58_address
    assert values == [1, 0, 0, 1]
    gone = ["our hotkey is not registered on netuid 17"]
    assert reasons == [[], gone, gone, []]
    assert bench.value("miner_uid", identity=MAIN) == 9


async def test_never_registered_is_an_error_too() -> None:
    """A daemon started with the wrong hotkey or netuid says so at its first reading."""
    with structlog.testing.capture_logs() as lines:
        bench = await Bench(ScriptedChain([without_us()])).turns(1)

    assert [(line["log_level"], line["event"]) for line in lines] == [("error", "not_registered")]
    assert bench.value("miner_rank", identity=MAIN) == -1


async def test_a_hotkey_moved_to_another_uid_is_followed() -> None:
    """We and our peers are known by hotkey; a new uid is told and changes nothing else."""
    moved = usual_reading(1050, uid=200)
    with structlog.testing.capture_logs() as lines:
        bench = await Bench(ScriptedChain([usual_reading(), moved])).turns(2)

    assert [line["event"] for line in lines] == ["registered", "uid_changed"]
    assert not bench.watch.troubles(MAX_AGE)
    assert bench.value("miner_uid", identity=MAIN) == 200


async def test_a_small_reorganisation_is_followed() -> None:
    """A chain that went back by a few blocks is believed at once."""
    back = without_us(1050 - MAX_BACK_BLOCKS)
    bench = await Bench(ScriptedChain([usual_reading(1050), back])).turns(1)
    bench.now += 2 * BLOCK_SECONDS
    bench.waits.clear()
    await bench.turns(1)

    assert len(bench.source().peers) == len(back.neurons)


async def test_a_node_far_behind_is_not_believed_until_nothing_better_came() -> None:
    """Its peers are those of hours ago; only after an hour may the chain itself have begun anew."""
    script: list[Reading | ChainError] = [usual_reading(5000), without_us(100)]
    bench = await Bench(ScriptedChain(script), chance=1.0).turns(3)
    kept = bench.source()

    assert kept.get(MINER.ss58_address) is not None
    assert "4900 blocks behind" in str(bench.watch.state.last_error)
    bench.now += FORGET_SECONDS
    bench.waits.clear()
    await bench.turns(1)
    assert bench.source().get(MINER.ss58_address) is None
    assert not bench.watch.state.last_error


async def test_a_node_that_stands_still_does_not_keep_the_peers_fresh() -> None:
    """The same block for minutes is a failure: the snapshot goes on ageing."""
    bench = await Bench(ScriptedChain([usual_reading()])).turns(4)

    assert bench.source().taken_at == 1000.0
    assert "stands still" in str(bench.watch.state.last_error)
    assert bench.chain.closed >= 3


async def test_the_same_block_twice_in_a_short_time_is_fine() -> None:
    """Who syncs faster than blocks come sees the same block, and that is no failure."""
    bench = Bench(ScriptedChain([usual_reading()]))
    await bench.turns(1)
    bench.now += STALL_SECONDS
    bench.waits.clear()
    await bench.turns(1)

    assert bench.watch.state.failures == 0


async def test_connections_do_not_live_for_ever() -> None:
    """After so many readings a connection is replaced: what grows in it goes with it."""
    count = 3 * MAX_READINGS
    bench = await Bench(ScriptedChain(readings(count))).turns(count)

    assert (bench.chain.opened, bench.chain.closed) == (3, 3)


async def test_the_watch_closes_its_connection_when_it_is_cancelled() -> None:
    """Ending the daemon leaves no connection behind."""
    chain = ScriptedChain([usual_reading()])
    bench = Bench(chain)
    reached = asyncio.Event()

    async def forever(seconds: float) -> None:
        reached.set()
        await asyncio.Event().wait()

    bench._sleep = forever  # type: ignore[method-assign]
    bench.__post_init__()
    task = asyncio.create_task(bench.watch.run())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (chain.opened, chain.closed) == (1, 1)


class FailingPublisher:
    """Fails for the chain's reasons."""

    def __init__(self) -> None:
        self.told: list[int] = []

    async def publish(self, chain: Chain, reading: Reading) -> None:
        self.told.append(reading.block)
        raise ChainError("the chain refused")


async def test_a_publication_that_fails_costs_no_reading() -> None:
    """The peers of that reading are in use, and the next reading comes at its usual time."""
    publisher = FailingPublisher()
    bench = await Bench(ScriptedChain(readings(2)), publisher=publisher).turns(2)

    assert publisher.told == [1000, 1050]
    assert bench.waits == [600, 600]
    assert bench.watch.state.failures == 0
    assert bench.source().taken_at == bench.now


def memory(facts: Facts, now: Sequence[float], chain: ChainSettings = CHAIN) -> ChainMemory:
    """With monotonic and wall clocks at these times."""
    return ChainMemory(facts, chain, lambda: now[0], lambda: now[1])


async def test_peers_are_recalled_after_a_restart_as_old_as_they_are() -> None:
    """A daemon that starts during an outage serves by the last life's peers, no longer than it."""
    facts = Facts()
    chain = ScriptedChain([usual_reading(1000, axon="8.8.8.8:5")])
    first = await Bench(chain, memory=memory(facts, (1000.0, 1e9))).turns(1)
    down = ScriptedChain([ChainError("down")])
    second = Bench(down, now=50.0, memory=memory(facts, (50.0, 1e9 + 400)))
    await second.watch.restore()

    assert second.source().peers == first.source().peers
    assert second.source().age_seconds(50.0) == 400.0
    assert not second.watch.troubles(MAX_AGE)
    second.now += MAX_AGE
    assert "s old" in second.watch.troubles(MAX_AGE)[0]


@pytest.mark.parametrize(
    ("change", "chain", "wall"),
    [
        (str.upper, CHAIN, 1e9),
        (lambda _: "null", CHAIN, 1e9),
        (lambda _: "{}", CHAIN, 1e9),
        (lambda text: text.replace('"peers": [[', '"peers": [[1, 2], ['), CHAIN, 1e9),
        (lambda text: text.replace('"at": ', '"at": 1e999, "was": '), CHAIN, 1e9),
        (lambda text: text, CHAIN.model_copy(update={"netuid": 18}), 1e9),
        (lambda text: text, CHAIN.model_copy(update={"network": "test"}), 1e9),
        (lambda text: text, CHAIN, 1e9 - 3600),
    ],
)
async def test_what_cannot_be_recalled_is_left(
    change: Callable[[str], str], chain: ChainSettings, wall: float
) -> None:
    """Damage, another subnet, or a date in the future: the daemon begins without peers."""
    facts = Facts()
    memory(facts, (0.0, 1e9)).keep(usual_reading().snapshot(0.0))
    facts.values[KEY] = change(facts.values[KEY])

    assert await memory(facts, (0.0, wall), chain).recall() is None


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.sampled_from(["read", "fail", "same", "behind", "gone", "moved"]), max_size=30
    ),
    chance=st.floats(0, 1),
)
async def test_whatever_the_chain_does_peers_are_true_and_dated(
    events: list[str], chance: float
) -> None:
    """Through any history: never more than one connection, no peers without a reading, waits in
    their bounds, and a snapshot is never younger than the block it shows.
    """
    block, script, blocks = 1000, [], []
    for event in events:
        block += 50 if event in ("read", "gone", "moved") else 0
        script.append(
            {
                "fail": ChainError("x"),
                "behind": usual_reading(max(1, block - 500)),
                "gone": without_us(block),
                "moved": usual_reading(block, uid=block),
            }.get(event, usual_reading(block))
        )
        blocks.append(block)
    chain = ScriptedChain([*script, usual_reading(block + 50)])
    bench = Bench(chain, chance=chance)
    taken: list[float | None] = []
    bench.meanwhile = lambda _: taken.append(bench.source().taken_at)
    await bench.turns(len(events) + 1)

    assert chain.opened - chain.closed == 0
    assert bench.source().peers
    assert all(2.5 <= wait <= 660 for wait in bench.waits)
    assert taken == sorted(taken)
    assert bench.watch.state.last_error is None
