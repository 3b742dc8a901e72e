"""The checks beside a real daemon: its own ports and lock are as they should be."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.app.running import Running, daemon


async def doctor(running: Running) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status of ``miner doctor --json`` with a daemon's settings, and its findings."""
    command = [sys.executable, "-m", "miner", "doctor", "--json", "--config"]
    process = await asyncio.create_subprocess_exec(
        *command,
        str(running.settings),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "MINER_WEIGHTS": str(running.scratch)},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    answer = json.loads(out)
    assert process.returncode == answer["exit_status"]
    return process.returncode, {one["name"]: one for one in answer["findings"]}


async def test_a_running_daemon_is_in_order(tmp_path: Path) -> None:
    """Running and ready, its ports its own, its journal whole, its hotkey opened."""
    async with daemon(tmp_path) as running:
        addresses = running.status()["addresses"]
        port = int(addresses["api"].rpartition(":")[2])
        text = running.settings.read_text().replace("[api]\nport = 0", f"[api]\nport = {port}")
        running.settings.write_text(text)
        status, found = await doctor(running)

    assert status == 0, found
    assert found["daemon"]["line"].startswith("running and ready")
    assert found["ports"]["line"] == f"api {port} is our daemon's"
    assert found["journal"]["status"] == "ok"
    assert found["memory"]["status"] == "skip"
    assert found["wallet"]["line"].startswith(running.hotkey)


async def test_a_start_that_asks_for_a_card_that_is_not_there_ends(tmp_path: Path) -> None:
    """For real: torch is asked in a process of its own, and no worker is begun."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a card here")
    running = Running(tmp_path, "Quick")
    running.settings.write_text(f'device = "cuda"\n{running.settings.read_text()}')
    await running.start(ready=False)
    assert running.process is not None

    assert await asyncio.wait_for(running.process.wait(), 120) == 78
    said = running.log.read_text()
    assert said.count("\n") == 1
    assert said.startswith("miner: cuda is asked for, and torch")
    assert 'or say device = "cpu"' in said
