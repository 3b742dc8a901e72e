"""The border to the chain, through the SDK's own code: what is read, published, and survived."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import bittensor as bt
import pytest
from bittensor import sp_core
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.admission.signature import verify
from miner.errors import ChainError
from miner.network.chain import MAX_HUNG, NOBODY, PROMETHEUS, RATE_LIMIT, Connection, Connections
from miner.network.chain_reading import Served, standing
from miner.settings import ChainSettings
from tests.network.fake_chain import (
    MINER,
    VALIDATORS,
    FakeSubstrate,
    axon,
    fail,
    graph,
    number_of,
    usual_graph,
)

PUBLIC = ChainSettings(network="finney", timeout_seconds=30)
SHORT = ChainSettings(network="finney", timeout_seconds=0.05)
"""Long enough for nothing: for fakes that never answer."""


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK keeps token symbols in the user's folder; not in tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@contextlib.asynccontextmanager
async def connected(
    substrate: FakeSubstrate, chain: ChainSettings = PUBLIC
) -> AsyncIterator[Connection]:
    connection = await Connections(chain, MINER, lambda: substrate).open()
    try:
        yield connection
    finally:
        await connection.close()


async def test_the_subnet_comes_as_our_own_values() -> None:
    """Stakes, permits, incentives, owner and immunity are read as the chain means them."""
    async with connected(FakeSubstrate()) as chain:
        reading = await chain.read()
    peers = reading.snapshot(5.0)
    ours = standing(reading, MINER.ss58_address)

    owner = peers.get(VALIDATORS[0].ss58_address)
    assert owner is not None
    assert (owner.uid, owner.stake, owner.validator_permit) == (0, 50_000.0, True)
    assert owner.owner
    assert [peer.owner for peer in peers.peers.values()].count(True) == 1
    assert peers.age_seconds(8.0) == 3.0
    assert (ours.uid, ours.rank, ours.neurons, ours.block) == (3, 2, 4, 1000)
    assert ours.incentive == pytest.approx(20_000 / 65_535)
    assert (ours.emission, ours.stake, ours.immune_blocks) == (2.0, 1.5, 900 + 5000 - 1000)
    assert ours.axon == "8.8.8.8:8091"


@pytest.mark.parametrize(("network", "private"), [("finney", False), ("local", True)])
async def test_private_addresses_of_peers_count_beside_a_local_node_only(
    network: str, private: bool
) -> None:
    """On a public network nobody can have us call into our own network."""
    settings = ChainSettings(network=network)
    async with connected(FakeSubstrate(), settings) as chain:
        found = (await chain.read()).snapshot(0.0)

    peer = found.get(VALIDATORS[1].ss58_address)
    assert peer is not None
    assert peer.axon == ("192.168.0.4:8091" if private else None)


async def test_addresses_that_cannot_be_called_are_none() -> None:
    """Nothing served, port 0 and loopback are no addresses; IPv6 is written in brackets."""
    six = {"ip": 0x20014860486000000000000000008888, "port": 9, "ip_type": 6, "block": 1}
    axons = [axon(), axon("8.8.8.8", 0), axon("127.0.0.1", 80), six]
    keys = [*VALIDATORS, MINER]
    rows = [(k.ss58_address, 1.0, True, a, 0) for k, a in zip(keys, axons, strict=True)]
    async with connected(FakeSubstrate(lambda: graph(*rows))) as chain:
        reading = await chain.read()

    assert [n.axon for n in reading.neurons] == [None, None, None, "[2001:4860:4860::8888]:9"]


async def test_places_that_nobody_holds_are_left_out() -> None:
    """Empty uids come with an address of zeros, any number of times; others keep theirs."""
    empty = (NOBODY, 0.0, False, axon(), 0)
    row = (MINER.ss58_address, 1.0, False, axon(), 0)
    async with connected(FakeSubstrate(lambda: graph(empty, row, empty))) as chain:
        reading = await chain.read()

    assert [(n.uid, n.hotkey) for n in reading.neurons] == [(1, MINER.ss58_address)]
    assert sp_core.ss58_encode(bytes(32), 42) == NOBODY


async def test_the_sdk_works_outside_the_daemons_loop() -> None:
    """Connection and calls run in a thread that ends with the connection."""
    substrate = FakeSubstrate()
    before = threading.active_count()
    async with connected(substrate) as chain:
        await chain.read()

    assert substrate.threads == {"chain"}
    assert substrate.open == 0
    assert "chain" not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 1  # asyncio's own helper may stay


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (bt.RpcConnectionError("connection refused"), "connection refused"),
        (OSError(111, "Connection refused"), "refused"),
        (bt.ChainError("state\ndiscarded"), "state discarded"),
        (TimeoutError(), "no answer"),
        (RuntimeError("x" * 5000), "nonsense was answered: RuntimeError"),
        (asyncio.CancelledError(), "nonsense was answered"),
    ],
)
async def test_what_the_sdk_raises_comes_out_as_one_line(error: BaseException, told: str) -> None:
    """Refused, failed or cancelled inside: one error of ours, short, and nothing stays open."""
    for substrate in (FakeSubstrate(connecting=fail(error)), FakeSubstrate(reading=fail(error))):
        with pytest.raises(ChainError, match=told) as caught:
            async with connected(substrate) as chain:
                await chain.read()

        assert substrate.open == 0
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


async def test_a_silent_node_is_given_up() -> None:
    """A call that is never answered ends at its limit, and the thread with it."""
    substrate = FakeSubstrate(reading=lambda: asyncio.Event().wait())
    with pytest.raises(ChainError, match="no answer within"):
        async with connected(substrate, SHORT) as chain:
            await chain.read()
    with pytest.raises(ChainError, match="no answer"):
        await Connections(SHORT, MINER, _silent).open()

    assert substrate.open == 0
    assert "chain" not in {thread.name for thread in threading.enumerate()}


def _silent() -> FakeSubstrate:
    return FakeSubstrate(connecting=lambda: asyncio.Event().wait())


async def test_connections_that_hang_are_left_behind_and_counted() -> None:
    """One that blocks its thread does not block us; with too many, no other is opened."""
    release = threading.Event()
    connections = Connections(SHORT, MINER, lambda: FakeSubstrate(connecting=release.wait))
    try:
        for _ in range(MAX_HUNG):
            with pytest.raises(ChainError, match="no answer"):
                await connections.open()
        with pytest.raises(ChainError, match="connections hang"):
            await connections.open()
        assert len(_chain_threads()) == MAX_HUNG
    finally:
        release.set()
    for thread in _chain_threads():
        await asyncio.to_thread(thread.join, 10.0)
    assert not _chain_threads()
    async with asyncio.timeout(30):
        while True:  # the limit of these connections is short for a busy machine
            with contextlib.suppress(ChainError):
                await (await connections.open()).close()
                break


def _chain_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "chain"]


async def test_a_subnet_that_is_not_there_is_said() -> None:
    """A wrong netuid is told as such."""
    with pytest.raises(ChainError, match="no subnet with netuid 17"):
        async with connected(FakeSubstrate(lambda: None)) as chain:
            await chain.read()


def _changed(**changes: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {**usual_graph(), **changes}


@pytest.mark.parametrize(
    "answer",
    [
        graph,
        lambda: {},
        lambda: {"hotkeys": 5},
        _changed(block=0),
        _changed(block="soon"),
        _changed(hotkeys=["x"] * 4),
        _changed(hotkeys=[MINER.ss58_address] * 4),
        _changed(total_stake=[-1] * 4),
        _changed(total_stake=["much"] * 4),
        _changed(axons=[{"ip": 1 << 200, "port": 1}] * 4),
        _changed(axons=[{"ip": "host", "port": 1}] * 4),
        _changed(incentives=[-5] * 4),
    ],
)
async def test_nonsense_is_refused_whole(answer: Callable[[], Any]) -> None:
    """An answer that cannot be true gives no peers at all, rather than some wrong ones."""
    with pytest.raises(ChainError):
        async with connected(FakeSubstrate(answer)) as chain:
            await chain.read()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(key=st.sampled_from(sorted(usual_graph())), value=JUNK)
def test_any_answer_gives_a_true_reading_or_our_error(key: str, value: Any) -> None:
    """Whatever stands in one field, what comes out can be served from, or is a ``ChainError``."""
    substrate = FakeSubstrate(_changed(**{key: value}))

    async def read() -> None:
        async with connected(substrate) as chain:
            reading = await chain.read()
        snapshot = reading.snapshot(0.0)
        assert all(peer.stake >= 0 for peer in snapshot.peers.values())
        json.dumps([standing(reading, MINER.ss58_address).__dict__], allow_nan=False)

    with contextlib.suppress(ChainError):
        asyncio.run(read())
    assert substrate.open == 0


async def test_the_axon_is_published_with_the_hotkey_alone() -> None:
    """The extrinsic names address and subnet, and its signer can sign as our hotkey only."""
    substrate = FakeSubstrate()
    async with connected(substrate) as chain:
        await chain.serve_axon("8.8.8.8", 8091)
        await chain.serve_prometheus("2001:4860:4860::8888", 9108)

    (first, signer), (second, _) = substrate.submitted
    assert (first.module, first.function) == ("SubtensorModule", "serve_axon")
    assert first.params["ip"] == number_of("8.8.8.8")
    assert (first.params["port"], first.params["netuid"], first.params["ip_type"]) == (8091, 17, 4)
    assert (second.function, second.params["ip_type"]) == ("serve_prometheus", 6)
    assert signer.ss58_address == MINER.ss58_address
    assert verify(signer.ss58_address, b"payload", signer.sign(b"payload"))
    assert sp_core.ss58_encode(signer.public_key, 42) == MINER.ss58_address
    assert not hasattr(signer, "coldkey")


async def test_a_refused_publication_says_why() -> None:
    """What the chain answers to an extrinsic it does not take is in our error."""
    with pytest.raises(ChainError, match="refused: ServingRateLimitExceeded"):
        async with connected(FakeSubstrate(refuses="ServingRateLimitExceeded")) as chain:
            await chain.serve_axon("8.8.8.8", 8091)


async def test_the_limit_and_the_published_metrics_are_read() -> None:
    """The chain's own rate limit, and where it says that our metrics are."""
    published = {"ip": number_of("8.8.8.8"), "port": 9108, "ip_type": 4, "block": 77, "version": 1}
    full = FakeSubstrate(queries={RATE_LIMIT: 50, PROMETHEUS: published})
    async with connected(full) as chain:
        assert await chain.serving_interval_blocks() == 50
        assert await chain.prometheus(MINER.ss58_address) == Served("8.8.8.8:9108", 77)
    async with connected(FakeSubstrate(queries={RATE_LIMIT: 0})) as chain:
        assert await chain.prometheus(MINER.ss58_address) == Served()
    for junk in ({"ip": 5}, {"ip": 5, "ip_type": 4, "port": 1, "block": "x"}):
        wrong = FakeSubstrate(queries={PROMETHEUS: junk, RATE_LIMIT: "often"})
        async with connected(wrong) as chain:
            with pytest.raises(ChainError):
                await chain.prometheus(MINER.ss58_address)
            with pytest.raises(ChainError):
                await chain.serving_interval_blocks()
