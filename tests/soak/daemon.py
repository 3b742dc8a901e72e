"""``miner run`` on a chain in a file, with generators that can be broken; ``Subject`` starts it."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvloop

from miner.app.daemon import Daemon
from miner.commands.demo_faults import ENGINE
from miner.settings import load
from tests.fakes.chain_daemon import FileChain


def main() -> None:
    """Runs the daemon."""
    parser = argparse.ArgumentParser(prog="tests.soak.daemon")
    parser.add_argument("--config", type=Path, required=True)
    config = parser.parse_args().config

    def substrate() -> FileChain:
        return FileChain(config.parent / "chain.json")

    async def live() -> None:
        await Daemon(load(config=config), lambda: load(config=config), ENGINE, substrate).run()

    uvloop.run(live())


if __name__ == "__main__":
    main()
