"""What a reload may change of the chain, and what must hold before an address is published."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from miner.app.preflight import initial_peers
from miner.app.reload import compare, live_part
from miner.doctor.coherence import require_coherent
from miner.errors import ConfigError
from miner.settings import Settings, load_settings


def settings(tmp_path: Path | None = None, **flags: Any) -> Settings:
    state = {"state_dir": str(tmp_path)} if tmp_path else {}
    return load_settings(flags={**flags, **state}, environ={})


@pytest.mark.parametrize(
    ("before", "after", "live"),
    [
        ("static:a", "static:b", True),
        ("", "static:b", True),
        ("static:a", "", True),
        ("static:a", "finney", False),
        ("finney", "static:a", False),
        ("finney", "test", False),
    ],
)
def test_peers_of_a_file_can_be_replaced_and_a_chain_cannot(
    before: str, after: str, live: bool
) -> None:
    """Another file holds at once; to or from a chain takes a restart, and is said."""
    old, new = (settings(chain={"network": name}) for name in (before, after))
    changes = compare(old, new)
    result = live_part(old, new).daemon.chain

    assert (changes.applied, changes.waiting) == (
        (("chain.network",), ()) if live else ((), ("chain.network",))
    )
    assert result.network == (after if live else before)


def test_other_keys_of_the_chain_wait_for_a_restart() -> None:
    """A running watch keeps its subnet and its times."""
    old = settings(chain={"network": "finney", "netuid": 17})
    new = settings(chain={"network": "finney", "netuid": 18, "sync_seconds": 60})

    assert compare(old, new).waiting == ("chain.netuid", "chain.sync_seconds")
    assert live_part(old, new).daemon.chain == old.daemon.chain


def test_a_chain_begins_with_peers_too_old_to_be_used() -> None:
    """Before the first reading nothing may be judged by an empty list; without a chain it may."""
    assert initial_peers("finney").age_seconds(0.0) == float("inf")
    assert initial_peers("").age_seconds(0.0) == 0.0


@pytest.mark.parametrize(
    ("axon", "chain", "metrics", "told"),
    [
        ({"external_ip": "10.0.0.5"}, "finney", {}, "not a public address"),
        ({"external_ip": "127.0.0.1"}, "wss://node.example:443", {}, "not a public address"),
        (
            {"external_ip": "8.8.8.8", "serve_prometheus": True},
            "finney",
            {"enabled": False},
            "metrics.enabled",
        ),
        ({"external_ip": "10.0.0.5", "publish": "never"}, "finney", {}, None),
        ({"external_ip": "10.0.0.5"}, "local", {}, None),
        ({"external_ip": "10.0.0.5"}, "static:x", {}, None),
        ({"external_ip": "detect"}, "finney", {}, None),
        ({"external_ip": "8.8.8.8"}, "finney", {}, None),
    ],
)
def test_an_address_that_nobody_reaches_is_not_published(
    tmp_path: Path, axon: Any, chain: str, metrics: Any, told: str | None
) -> None:
    """The start ends before a useless address costs a fee; where none is written it does not."""
    given = settings(tmp_path, axon=axon, chain={"network": chain}, metrics=metrics).daemon
    if told is None:
        require_coherent(given)
    else:
        with pytest.raises(ConfigError, match=told):
            require_coherent(given)


def test_without_a_chain_its_sdk_is_not_loaded() -> None:
    """Half a second and tens of MiB are paid by those who name a chain."""
    script = "import sys, miner.app.daemon; print('bittensor' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.strip() == "False"
