"""``miner run`` with another engine: ``python -m tests.fakes.daemon ENGINE --config FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop

from miner.app.daemon import Daemon
from miner.errors import MinerError
from miner.settings import load


def main() -> int:
    """Runs the daemon whose workers use the engine of the first argument."""
    engine, config = sys.argv[1], Path(sys.argv[3])

    async def live() -> None:
        await Daemon(load(config=config), lambda: load(config=config), engine).run()

    try:
        uvloop.run(live())
    except MinerError as error:
        print(f"miner: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
