"""The whole daemon on a chain: who is served, what is published, and what an outage changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miner.admission.signature import Signer, new_hotkey
from tests.app.running import OTHER, VALIDATOR, Running, calling
from tests.network.fake_chain import axon, graph

STRANGER = new_hotkey(b"s" * 32)
CHAIN = {"network": "local", "sync_seconds": 1, "retry_seconds": 0.2, "max_retry_seconds": 0.2}
AXON = {"external_ip": "127.0.0.1"}


class OnChain(Running):
    """A daemon whose chain is the file ``chain.json``."""

    module = "tests.fakes.chain_daemon"

    def show(self, *hotkeys: str, block: int, ours: Mapping[str, int] | None = None) -> None:
        """Lets the chain hold these hotkeys, all with stake and permit."""
        rows = [
            (key, 5000.0, True, dict(ours or axon()) if key == self.hotkey else axon(), 0)
            for key in hotkeys
        ]
        self.write(graph(*rows, block=block))

    def write(self, answer: Any) -> None:
        """Replaces the file at once, so that the daemon never reads half of it."""
        partial = self.folder / "partial"
        partial.write_text(json.dumps(answer), encoding="utf-8")
        partial.replace(self.folder / "chain.json")

    def read(self) -> Any:
        return json.loads((self.folder / "chain.json").read_text(encoding="utf-8"))

    def chain(self) -> dict[str, Any]:
        """As the status shows it."""
        return dict(self.status().get("chain") or {})

    def standing(self) -> dict[str, Any]:
        return dict(self.chain().get("standing") or {})


async def status_of(running: Running, signer: Signer) -> int | None:
    async with calling(running, signer) as caller:
        answer = await caller.generate("a red cube")
    return answer.dendrite.status_code


async def test_a_daemon_lives_by_the_chain(tmp_path: Path) -> None:
    """Peers of the chain are served and no others; the axon is published where it listens; losing
    the place takes readiness; an outage and a restart within it change nothing for validators.
    """
    running = OnChain(tmp_path, "Quick", chain=CHAIN, axon=AXON)
    peers = (VALIDATOR.ss58_address, running.hotkey)
    running.show(*peers, block=100)
    await running.start()
    try:
        assert running.standing()["uid"] == 1
        assert await status_of(running, VALIDATOR) == 200
        assert await status_of(running, STRANGER) == 403
        await running.until(lambda: running.read()["axons"][1]["port"] != 0)
        published = running.read()["axons"][1]
        assert running.address.endswith(f":{published['port']}")

        running.show(OTHER.ss58_address, block=110)
        await running.until(lambda: running.standing()["registered"] is False)
        assert not running.status()["ready"]
        assert "not registered" in running.status()["reasons"][0]
        assert await status_of(running, VALIDATOR) == 403
        errors = [line for line in running.lines if line["level"] == "error"]
        assert [line["event"] for line in errors] == ["deregistered"]

        running.show(*peers, block=120, ours=published)
        await running.until(lambda: bool(running.status().get("ready")))
        running.write({"error": "the node is gone"})
        await running.until(lambda: running.chain()["failures"] > 1)
        assert running.status()["ready"]
        assert await status_of(running, VALIDATOR) == 200

        assert await running.end() == 0
        await running.start()
        assert running.chain()["standing"] is None
        assert await status_of(running, VALIDATOR) == 200
        assert await running.end() == 0
    finally:
        if running.process is not None and running.process.returncode is None:
            running.process.kill()
            await running.process.wait()


async def test_without_a_reading_the_daemon_is_up_and_says_why_it_is_not_ready(
    tmp_path: Path,
) -> None:
    """A chain that was never reached: 503 to everybody, the reason in the status, a clean end."""
    chain = {**CHAIN, "network": "ws://127.0.0.1:1"}
    running = Running(tmp_path, "Quick", chain=chain)
    await running.start(ready=False)
    await running.until(lambda: (running.status().get("chain") or {}).get("failures", 0) > 1)
    status = running.status()

    assert not status["ready"]
    assert status["reasons"][0].startswith("the metagraph of netuid 17 was not read yet: ")
    assert status["peers"] == {"count": 0, "age_seconds": None}
    assert await status_of(running, VALIDATOR) == 503
    assert await running.end() == 0
