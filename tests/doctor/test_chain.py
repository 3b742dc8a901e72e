"""The chain, through the SDK's own code: reached, and our hotkey known there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.admission.signature import new_hotkey, write_hotkey
from miner.doctor.case import Case
from miner.doctor.chain import chain_seen, look_at_chain
from miner.doctor.clock import look_at_clock
from miner.doctor.coherence import look_at_settings
from miner.errors import ChainError, ConfigError
from tests.doctor.machines import case, put
from tests.network.fake_chain import FakeSubstrate, fail, usual_graph

NOW_IN_MS = {("Timestamp", "Now"): 1_000_000_000}
"""The machines of the tests have the same time."""


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK keeps token symbols in the user's folder; not in tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def on_chain(root: Path, substrate: FakeSubstrate, seed: bytes | None, **chain: Any) -> Case:
    """A case on a public network; with the hotkey of ``seed``, where one is given."""
    if seed is not None:
        write_hotkey(root / "hotkey", seed)
    one = case(
        root,
        intakes=["axon"],
        axon={"port": 0},
        wallet={"hotkey_file": str(root / "hotkey")},
        chain={"network": "finney", **chain},
    )
    one.substrate = lambda: substrate
    return one


async def test_a_registered_hotkey_is_told_with_its_place(tmp_path: Path) -> None:
    """And every connection that was opened is closed again."""
    substrate = FakeSubstrate(queries=NOW_IN_MS)
    found = await look_at_chain(on_chain(tmp_path, substrate, b"m" * 32))

    assert found.status == "ok", found
    assert found.line.startswith("uid 3 of netuid 17 on finney")
    assert substrate.open == 0


async def test_a_hotkey_without_a_place_is_a_failure(tmp_path: Path) -> None:
    """It stops nothing: it may be registered while the daemon runs."""
    found = await look_at_chain(on_chain(tmp_path, FakeSubstrate(queries=NOW_IN_MS), b"x" * 32))

    assert (found.status, found.stops) == ("fail", None)
    assert new_hotkey(b"x" * 32).ss58_address in found.line


async def test_without_a_hotkey_the_chain_is_reached_all_the_same(tmp_path: Path) -> None:
    """That the key is missing is another check's line."""
    found = await look_at_chain(on_chain(tmp_path, FakeSubstrate(queries=NOW_IN_MS), None))

    assert (found.status, found.line) == ("ok", "finney answers: netuid 17 has 4 hotkeys")


@pytest.mark.parametrize(
    "substrate",
    [
        FakeSubstrate(connecting=fail(OSError("no route"))),
        FakeSubstrate(reading=fail(KeyError("nonsense"))),
        FakeSubstrate(answer=lambda: None),
        FakeSubstrate(answer=usual_graph),  # and no time of a block
    ],
)
async def test_a_chain_that_cannot_be_read_is_one_line(
    tmp_path: Path, substrate: FakeSubstrate
) -> None:
    """Whatever it does; the clock is then judged without it."""
    one = on_chain(tmp_path, substrate, b"m" * 32)
    found = await look_at_chain(one)

    assert (found.status, found.stops) == ("fail", None)
    assert "\n" not in found.line
    assert isinstance(await chain_seen(one, one.settings.daemon.identities[0]), ChainError)
    assert (await look_at_clock(one)).status == "skip"


@pytest.mark.parametrize("network", ["", "static:peers.toml"])
async def test_without_a_chain_there_is_nothing_to_reach(tmp_path: Path, network: str) -> None:
    """A file of peers is looked at with the settings."""
    found = await look_at_chain(case(tmp_path, chain={"network": network}))

    assert found.status == "skip"


async def test_a_block_from_the_future_shows_a_clock_that_is_behind(tmp_path: Path) -> None:
    """Where no server's date is to be had."""
    later = {("Timestamp", "Now"): 1_000_060_000}
    found = await look_at_clock(on_chain(tmp_path, FakeSubstrate(queries=later), b"m" * 32))

    assert found.status == "fail"
    assert "60.0 s behind block 1,000" in found.line


async def test_a_file_of_peers_that_is_wrong_stops_the_start(tmp_path: Path) -> None:
    """With the entry and the key that are wrong."""
    peers = put(tmp_path, "peers.toml", '[[peer]]\nhotkey = "x"\n')
    with pytest.raises(ConfigError, match="peer 1"):
        await look_at_settings(case(tmp_path, chain={"network": f"static:{peers}"}))
