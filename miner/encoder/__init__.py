"""Splats as bytes: the formats by name, by suffix and by their first bytes.

    encode(gaussians, "spz")                      bytes for the subnet's validators
    encode(gaussians, "spz", spz_variant="v3")    bytes for viewers
    decode(data)                                  whatever it is, by its first bytes
    load("asset.ply")                             the same, from a file

Everything here is numpy; neither torch nor a GPU is touched.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from miner.encoder import ply, spz
from miner.encoder.limits import MAX_FILE_BYTES, MAX_GAUSSIANS
from miner.encoder.spz import VARIANTS as SPZ_VARIANTS
from miner.errors import BadAsset, BadOption
from miner.geometry.gaussians import Gaussians

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_GAUSSIANS",
    "SPZ_VARIANTS",
    "decode",
    "encode",
    "format_of",
    "formats",
    "load",
]

formats: Final = ("ply", "spz")
"""What can be written and read; each is also its file's suffix."""


def encode(gaussians: Gaussians, format: str, *, spz_variant: str = "subnet") -> bytes:
    """The bytes of a file in one of ``formats``.

    Args:
        gaussians: what to write.
        format: "ply" or "spz".
        spz_variant: one of ``SPZ_VARIANTS``; means nothing to PLY.

    Raises:
        BadOption: an unknown format or variant.
        BadAsset: Gaussians that the format cannot hold.
    """
    if format == "ply":
        return ply.encode(gaussians)
    if format == "spz":
        return spz.encode(gaussians, spz_variant)
    raise BadOption(f"no format {format!r}; choose one of {', '.join(formats)}")


def decode(data: bytes, *, max_gaussians: int = MAX_GAUSSIANS) -> Gaussians:
    """The Gaussians of a file's bytes; PLY or SPZ of any variant, told by the first bytes.

    Raises:
        BadAsset: neither, or damaged, or more than ``max_gaussians``.
    """
    if not data:
        raise BadAsset("the splat file is empty")
    if data.startswith(b"ply"):
        return ply.decode(data, max_gaussians=max_gaussians)
    if data.startswith((b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"NGSP")):
        return spz.decode(data, max_gaussians=max_gaussians)
    raise BadAsset("not a splat file: it begins neither as PLY nor as SPZ")


def load(path: str | os.PathLike[str], *, max_gaussians: int = MAX_GAUSSIANS) -> Gaussians:
    """The Gaussians of a file, told by its contents rather than its suffix.

    Raises:
        BadAsset: no such file, not readable, over ``MAX_FILE_BYTES``, or as for ``decode``; the
            message begins with the path.
    """
    try:
        data = _read(Path(path))
        return decode(data, max_gaussians=max_gaussians)
    except OSError as error:
        raise BadAsset(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL among the characters of the path
        raise BadAsset(f"{str(path)!r}: cannot be read: {error}") from error
    except BadAsset as error:
        raise BadAsset(f"{path}: {error}") from error


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's suffix asks for.

    Raises:
        BadOption: the suffix is none of ``formats``.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in formats:
        endings = " or ".join(f".{name}" for name in formats)
        raise BadOption(f"{path}: the name of a splat file must end in {endings}")
    return suffix


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise BadAsset("not a file")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise BadAsset(f"{size:,} bytes are over the limit of {MAX_FILE_BYTES:,}")
    return path.read_bytes()
