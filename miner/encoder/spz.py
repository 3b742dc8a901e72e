"""SPZ files: a 16-byte header and quantised planes (``planes.py``), wrapped (``container.py``).

Three variants are written. ``subnet`` is version 2 in a zstd frame, which the subnet's validators
take and no other program reads; ``v2`` and ``v3`` are Niantic's, in gzip, for viewers. Read are
versions 1 and 2 in either wrapping and 3 in gzip. The header is little-endian: magic "NGSP",
u32 version, u32 number of Gaussians, u8 degree of the harmonics, u8 fractional bits of the
positions, u8 flags (1: made for antialiased rendering, which is not kept), u8 zero.

Not done: version 4, extensions (flag 2), harmonics of degree 4.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from miner.encoder import planes
from miner.encoder.container import open_container, wrap_gzip, wrap_zstd
from miner.encoder.limits import MAX_GAUSSIANS, require_count, require_finite
from miner.errors import BadAsset, BadOption
from miner.geometry.gaussians import SH_REST_COUNTS, Gaussians

VARIANTS: Final = ("subnet", "v2", "v3")

MAX_PAYLOAD_BYTES: Final = 1 << 28
"""The largest payload that is unpacked: ``MAX_GAUSSIANS`` of degree 0, four million of degree 3."""

_HEADER: Final = struct.Struct("<4sIIBBBB")
_MAGIC: Final = b"NGSP"
_VERSIONS: Final = {"zstd": (1, 2), "gzip": (1, 2, 3)}
_FLAG_ANTIALIASED: Final = 1


class _Header(NamedTuple):
    magic: bytes
    version: int
    points: int
    sh_degree: int
    fractional_bits: int
    flags: int
    reserved: int


def encode(gaussians: Gaussians, variant: str = "subnet") -> bytes:
    """The bytes of an SPZ file.

    Equal Gaussians give equal bytes. Positions are kept to 1/8192 of a unit, the logarithm of
    scales to 1/32 within [-10, 5.9], opacities to 1/510, ``sh_dc`` to 0.014 within +-3.33.

    Args:
        gaussians: any number up to ``MAX_GAUSSIANS``, degree 0 to 3.
        variant: one of ``VARIANTS``.

    Raises:
        BadOption: there is no such variant.
        BadAsset: no Gaussians or too many, numbers that are not finite, a centre beyond +-2048
            units, a rotation of zero length.
    """
    if variant not in VARIANTS:
        raise BadOption(f"no SPZ variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    require_count(len(gaussians))
    require_finite(gaussians)
    version = 3 if variant == "v3" else 2
    header = _HEADER.pack(
        _MAGIC, version, len(gaussians), gaussians.sh_degree, planes.FRACTIONAL_BITS, 0, 0
    )
    payload = b"".join([header, *(plane.data for plane in planes.pack(gaussians, version))])
    return wrap_zstd(payload) if variant == "subnet" else wrap_gzip(payload)


def decode(data: bytes, *, max_gaussians: int = MAX_GAUSSIANS) -> Gaussians:
    """The Gaussians of an SPZ file of any variant.

    Opacities of exactly 0 and 1 come back as infinite logits. No more memory is taken than the
    file's own bytes can fill.

    Args:
        data: the whole file.
        max_gaussians: refuse a file that holds more.

    Raises:
        BadAsset: not SPZ, damaged, cut off, followed by more, too large, or of a kind not read.
    """
    reader = open_container(data)
    header = _Header(*_HEADER.unpack(reader.read(_HEADER.size)))
    _check_header(header, reader.kind)
    require_count(header.points, max_gaussians)
    size = header.points * planes.bytes_per_gaussian(header.version, header.sh_degree)
    if size > MAX_PAYLOAD_BYTES:
        raise BadAsset(f"the SPZ payload of {size:,} bytes is over {MAX_PAYLOAD_BYTES:,}")
    if size > reader.max_bytes:
        raise BadAsset(
            f"the SPZ header claims {header.points:,} Gaussians, more than its file holds"
        )
    payload = reader.read(size)
    reader.finish()
    gaussians = planes.unpack(
        payload, header.points, header.version, header.sh_degree, header.fractional_bits
    )
    if header.version == 1:  # only float16 can hold what is not a number
        require_finite(gaussians)
    return gaussians


def _check_header(header: _Header, wrapping: str) -> None:
    if header.magic != _MAGIC:
        raise BadAsset(f"not an SPZ file: its payload begins with {header.magic!r}, not {_MAGIC!r}")
    if header.version not in _VERSIONS[wrapping]:
        raise BadAsset(
            f"SPZ version {header.version} in {wrapping} is not read here; "
            f"save it as one of {_VERSIONS[wrapping]}"
        )
    if header.sh_degree >= len(SH_REST_COUNTS):
        raise BadAsset(f"SPZ harmonics of degree {header.sh_degree}; 0 to 3 are read here")
    if header.fractional_bits > 24:
        raise BadAsset(f"SPZ positions of {header.fractional_bits} fractional bits; they have 24")
    if header.flags & ~_FLAG_ANTIALIASED or header.reserved:
        raise BadAsset(
            f"SPZ flags 0x{header.flags:02x} and reserved byte 0x{header.reserved:02x} ask for "
            "extensions that are not read here; save the file without them"
        )
