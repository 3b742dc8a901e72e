"""``python -m miner``: the same as the console script."""

import sys

from miner.cli import main

if __name__ == "__main__":
    sys.exit(main())
