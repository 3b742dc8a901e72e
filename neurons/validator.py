"""The test validator: the same as ``miner validator``, as a script and as a module.

With ``--serve`` as its first argument it is ``miner validator-serve``: miners pull from it.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if sys.path and Path(sys.path[0]).resolve() == HERE:
    # Run as a script, this folder comes first on the path, and the miner's script in it would be
    # found for the package of the same name.
    sys.path[0] = str(HERE.parent)

from miner.cli import main  # noqa: E402 - after the path is mended

if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        sys.exit(main(["validator-serve", *sys.argv[2:]]))
    sys.exit(main(["validator", *sys.argv[1:]]))
