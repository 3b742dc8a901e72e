"""The door operators know: the same as ``miner run``, as a script and as a module.

Options are those of ``miner run``; other commands are reached through ``miner`` alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if sys.path and Path(sys.path[0]).resolve() == HERE:
    # Run as a script, this folder comes first on the path, and this file would be found for the
    # package of the same name.
    sys.path[0] = str(HERE.parent)

from miner.cli import main  # noqa: E402 - after the path is mended

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
