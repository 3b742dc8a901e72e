"""The process that makes pictures for the operator's page, run as a module.

Reads a splat's file from standard input. With the argument "picture" it writes a PNG to standard
output; with "view" the same splat as SPZ version 3, which viewers in browsers read and the subnet's
dialect is not. It lowers its own priority first, so that whoever makes splats has the processor
when both want it. Loads neither torch nor anything of the daemon.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from miner import encoder
from miner.errors import MinerError
from miner.rendering.thumbnail import png

NICE: Final = 19


def main(arguments: list[str]) -> int:
    """Reads a splat, writes what the one argument asks for; an exit status."""
    os.nice(NICE)
    try:
        gaussians = encoder.decode(sys.stdin.buffer.read())
        if arguments == ["view"]:
            made = encoder.encode(gaussians, "spz", spz_variant="v3")
        else:
            made = png(gaussians)
    except MinerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
