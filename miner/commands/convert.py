"""``miner convert``: between splat formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miner import encoder
from miner.commands.console import result
from miner.encoder.convert import convert as convert_file


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A PLY or SPZ file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A name ending in .ply or .spz.")],
    spz: Annotated[
        str, typer.Option(help=f"Which SPZ to write: {', '.join(encoder.SPZ_VARIANTS)}.")
    ] = "subnet",
) -> None:
    """Turn a splat file into another format."""
    done = convert_file(source, target, spz)
    result(
        f"wrote {target}: {done.gaussians:,} Gaussians of degree {done.sh_degree}, "
        f"{done.bytes_in:,} bytes became {done.bytes_out:,}"
    )
