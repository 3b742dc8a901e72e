"""What is found out before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.app import preflight
from miner.errors import ConfigError
from miner.settings import ChainSettings, DaemonSettings


def test_pulling_needs_validators_to_ask(tmp_path: Path) -> None:
    """Without a chain or a file of peers nobody is known, and nothing would ever happen."""
    with pytest.raises(ConfigError, match=r"chain\.network"):
        preflight.check(DaemonSettings(state_dir=tmp_path, intakes=("pull",)))

    chain = ChainSettings(network="static:peers.toml")
    preflight.check(DaemonSettings(state_dir=tmp_path, intakes=("pull",), chain=chain))
