"""``miner ctl precision`` in a real daemon: the new one holds, or the last good one stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from miner.errors import ControlError
from miner.network.control_client import ask
from tests.app.running import Running, daemon


async def asked(running: Running, mode: str) -> dict[str, Any]:
    """What the daemon answers."""
    verb = f"precision?mode={mode}"
    return await asyncio.to_thread(ask, running.state_dir, "POST", verb, None)


async def test_the_last_good_precision_stays(tmp_path: Path) -> None:
    """One that loads takes the place of the first; one that does not leaves it in place, with the
    reason told and the daemon ready."""
    async with daemon(tmp_path, "Precise") as running:
        answer = await asked(running, "bf16")
        with pytest.raises(ControlError, match=r"no kernel for int8.*bf16 holds as before"):
            await asked(running, "int8")
        with pytest.raises(ControlError, match="unknown precision"):
            await asked(running, "fp5")
        status = running.status()

    (worker,) = status["workers"]
    assert answer["plan"]["stages"][0]["precision"] == "bf16"
    assert worker["plan"]["stages"][0]["precision"] == "bf16"
    assert status["ready"]
