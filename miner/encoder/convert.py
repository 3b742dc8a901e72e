"""One splat file turned into another format; what ``miner convert`` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from miner import encoder, files


class Conversion(NamedTuple):
    """What was done, for a line of output."""

    gaussians: int
    sh_degree: int
    bytes_in: int
    bytes_out: int


def convert(
    in_path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    spz_variant: str = "subnet",
) -> Conversion:
    """Read a splat, whatever it is, and write it in the format that ``out_path`` ends in.

    The two may be the same file. Nothing is written unless everything went well.

    Args:
        in_path: PLY or SPZ, told by its contents.
        out_path: ends in .ply or .spz; a file there is replaced.
        spz_variant: one of ``encoder.SPZ_VARIANTS``; means nothing to PLY.

    Raises:
        BadOption: the output's suffix or the variant is unknown.
        BadAsset: the input cannot be read or is not a splat that the output can hold.
        OutputError: the output cannot be written.
    """
    format = encoder.format_of(out_path)
    gaussians = encoder.load(in_path)
    data = encoder.encode(gaussians, format, spz_variant=spz_variant)
    bytes_in = Path(in_path).stat().st_size
    files.write_atomic(out_path, data)
    return Conversion(len(gaussians), gaussians.sh_degree, bytes_in, len(data))
