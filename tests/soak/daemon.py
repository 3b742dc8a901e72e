"""``miner run`` on a chain in a file, with generators that can be broken; ``Subject`` starts it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import uvloop

from miner.app.daemon import Daemon
from miner.commands.demo_faults import ENGINE
from miner.settings import load
from tests.fakes.chain_daemon import FileChain


class LivelyChain(FileChain):
    """That chain with blocks that go on, as a real one's do."""

    def _read(self) -> Any:
        return {**super()._read(), "block": int(time.time())}


def main() -> None:
    """Runs the daemon."""
    parser = argparse.ArgumentParser(prog="tests.soak.daemon")
    parser.add_argument("--config", type=Path, required=True)
    config = parser.parse_args().config

    def substrate() -> LivelyChain:
        return LivelyChain(config.parent / "chain.json")

    async def live() -> None:
        await Daemon(load(config=config), lambda: load(config=config), ENGINE, substrate).run()

    uvloop.run(live())


if __name__ == "__main__":
    main()
