"""What is written to the chain, and above all when it is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.errors import ChainError, ConfigError
from miner.job import MAIN
from miner.metrics import Metrics
from miner.network.chain_publish import DETECT_SECONDS, AddressPublisher
from miner.network.chain_reading import Served
from miner.settings import AxonSettings, load_settings
from miner.settings.subnet import is_beside_us
from tests.network.fake_chain import MINER, ScriptedChain, usual_reading, without_us

OPEN = {"axon": "http://0.0.0.0:8091", "metrics": "http://127.0.0.1:9108"}
HERE = "8.8.8.8:8091"


@dataclass
class Bench:
    """A publisher, its chain, and a clock."""

    settings: AxonSettings = field(default_factory=lambda: AxonSettings(external_ip="8.8.8.8"))
    chain: ScriptedChain = field(default_factory=lambda: ScriptedChain([]))
    addresses: dict[str, str] = field(default_factory=lambda: dict(OPEN))
    now: float = 0.0
    detected: list[str] = field(default_factory=lambda: ["8.8.8.8"])
    asked: int = 0

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.publisher = AddressPublisher(
            MINER.ss58_address,
            self.settings,
            lambda: self.addresses,
            self.metrics.of(MAIN),
            self._detect,
            lambda: self.now,
        )

    async def _detect(self) -> str:
        self.asked += 1
        return self.detected.pop(0) if len(self.detected) > 1 else self.detected[0]

    async def read(self, block: int, **own: Any) -> list[tuple[str, str, int]]:
        """All writings after a reading with this row of ours."""
        await self.publisher.publish(self.chain, usual_reading(block, **own))
        return self.chain.served

    def count(self, what: str, outcome: str) -> float | None:
        labels = {"identity": MAIN, "what": what, "outcome": outcome}
        return self.metrics.registry.get_sample_value("miner_chain_publications_total", labels)


async def test_an_address_that_the_chain_shows_is_not_written_again() -> None:
    """Nothing is written while the chain says what is true, over any number of readings."""
    bench = Bench()
    for block in range(1000, 2000, 50):
        assert await bench.read(block, axon=HERE, served_at=10) == []


@pytest.mark.parametrize("shown", [None, "8.8.4.4:8091", "8.8.8.8:8092"])
async def test_an_address_that_differs_is_written(shown: str | None) -> None:
    """Nothing, another address or another port on the chain: ours is written, once."""
    bench = Bench()

    assert await bench.read(1000, axon=shown) == [("axon", "8.8.8.8", 8091)]
    assert await bench.read(1050, axon=HERE, served_at=1000) == [("axon", "8.8.8.8", 8091)]
    assert bench.count("axon", "ok") == 1


async def test_the_external_port_is_published_where_it_is_another() -> None:
    """Behind a router, validators call the port that is forwarded."""
    bench = Bench(AxonSettings(external_ip="8.8.8.8", external_port=40_000))

    assert await bench.read(1000) == [("axon", "8.8.8.8", 40_000)]


@pytest.mark.parametrize(
    "settings",
    [
        AxonSettings(),
        AxonSettings(external_ip="8.8.8.8", publish="never"),
        AxonSettings(external_ip="detect", publish="never"),
    ],
)
async def test_without_being_told_to_nothing_is_written(settings: AxonSettings) -> None:
    """No address, or publishing switched off: the chain is left alone, and nobody is asked."""
    bench = Bench(settings)

    assert await bench.read(1000) == []
    assert bench.asked == 0


async def test_a_closed_door_and_a_hotkey_without_place_are_not_published() -> None:
    """An address is published while somebody listens there, and by a registered hotkey."""
    bench = Bench(addresses={})
    await bench.publisher.publish(bench.chain, without_us())

    assert await bench.read(1000) == []
    bench.addresses.update(OPEN)
    await bench.publisher.publish(bench.chain, without_us())
    assert bench.chain.served == []
    assert await bench.read(1050) == [("axon", "8.8.8.8", 8091)]


async def test_the_chains_own_rate_limit_is_respected_over_restarts() -> None:
    """The last writing is read from the chain: a new life waits for the rest of the interval."""
    for block, may in ((1049, False), (1050, True)):
        bench = Bench()
        assert bool(await bench.read(block, axon="8.8.4.4:1", served_at=1000)) is may


async def test_a_failed_writing_is_not_tried_at_every_reading() -> None:
    """Whatever the chain refuses it for, the next attempt waits for the interval as well."""
    bench = Bench(chain=ScriptedChain([], refuses="no funds"))
    for block in (1000, 1020, 1049, 1050):
        try:
            await bench.read(block)
        except ChainError as error:
            assert "no funds" in str(error)

    assert len(bench.chain.served) == 2
    assert bench.count("axon", "failed") == 2


async def test_a_chain_without_a_limit_is_not_flooded() -> None:
    """Where the chain names no interval, its usual one is kept."""
    bench = Bench(chain=ScriptedChain([], interval=0))
    for block in range(1000, 1100, 10):
        await bench.read(block)

    assert len(bench.chain.served) == 2


async def test_metrics_are_published_where_it_is_wanted_and_differ() -> None:
    """Their address follows the same rules as the axon's."""
    settings = AxonSettings(external_ip="8.8.8.8", serve_prometheus=True)
    bench = Bench(settings)

    assert await bench.read(1000, axon=HERE) == [("metrics", "8.8.8.8", 9108)]
    bench = Bench(settings, ScriptedChain([], published=Served("8.8.8.8:9108", 10)))
    assert await bench.read(1000, axon=HERE) == []
    bench = Bench(settings, addresses={"axon": OPEN["axon"]})
    assert await bench.read(1000, axon=HERE) == []


async def test_a_detected_address_is_asked_for_again_after_an_hour() -> None:
    """Detection is done where settings ask for it, seldom, and a new address is published."""
    bench = Bench(AxonSettings(external_ip="detect"), detected=["8.8.8.8", "8.8.4.4"])
    await bench.read(1000)
    await bench.read(1100, axon=HERE, served_at=1000)
    assert bench.asked == 1
    bench.now += DETECT_SECONDS + 1

    served = await bench.read(1400, axon=HERE, served_at=1000)
    assert [ip for _, ip, _ in served] == ["8.8.8.8", "8.8.4.4"]


async def test_ipv6_addresses_are_compared_as_the_chain_spells_them() -> None:
    """Two spellings of one address are no difference."""
    bench = Bench(AxonSettings(external_ip="2001:4860:4860:0:0:0:0:8888"))

    assert await bench.read(1000, axon="[2001:4860:4860::8888]:8091") == []


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 60),
            st.sampled_from([None, HERE, "8.8.4.4:1"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    ),
    interval=st.integers(0, 120),
)
async def test_writings_keep_their_distance(
    steps: list[tuple[int, str | None, bool, bool]], interval: int
) -> None:
    """Through any history of what the chain shows, refuses or forgets: no two writings of one life
    lie closer than the interval, and none happens while the chain shows our address.
    """
    bench = Bench(chain=ScriptedChain([], interval=interval))
    block, written, at = 1000, [], 0
    for blocks, shown, refuse, remembered in steps:
        block += blocks
        bench.chain.refuses = "no" if refuse else None
        before = len(bench.chain.served)
        try:
            await bench.read(block, axon=shown, served_at=at if remembered else 0)
        except ChainError:
            assert refuse
        if len(bench.chain.served) > before:
            assert shown != HERE
            written.append(block)
            at = at if refuse else block

    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert all(gap >= (interval or 50) for gap in gaps)


@pytest.mark.parametrize(
    ("network", "beside"),
    [
        *[("finney", False), ("test", False), ("local", True), ("ws://localhost:9944", True)],
        *[("ws://127.0.0.1:9944", True), ("ws://10.1.2.3:9944", True)],
        *[("wss://entrypoint-finney.opentensor.ai:443", False), ("ws://8.8.8.8:1", False)],
    ],
)
def test_a_local_network_is_known_by_its_address(network: str, beside: bool) -> None:
    """Names and public addresses are public networks; private addresses are beside us."""
    assert is_beside_us(network) is beside


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ({"axon": {"external_ip": "host.example"}}, "axon.external_ip"),
        ({"axon": {"publish": "sometimes"}}, "axon.publish"),
        ({"chain": {"network": "finny"}}, "chain.network"),
        ({"chain": {"network": "http://node"}}, "chain.network"),
        ({"chain": {"netuid": -1}}, "chain.netuid"),
        ({"chain": {"retry_seconds": 400}}, "max_retry_seconds"),
        ({"chain": "finney"}, "chain"),
    ],
)
def test_wrong_settings_are_named(flags: dict[str, Any], key: str) -> None:
    """What cannot be meant stops the start with the key's name."""
    with pytest.raises(ConfigError, match=key):
        load_settings(flags=flags, environ={})
