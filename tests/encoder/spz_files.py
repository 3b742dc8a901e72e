"""What the tests of SPZ share: files made by hand, and the angle between rotations."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import zstandard

VARIANTS = ("subnet", "v2", "v3")
REACH = 2047.0

# How far quantisation may turn a rotation, in radians. Version 2 keeps x, y, z within 1/255 each
# and takes w from their length, which is off by sqrt(2 sqrt(3)/255) = 0.117 where w is near zero;
# the angle is twice that, and a little. Version 3 keeps three within sqrt(1/2)/1022 each.
ANGLE_STEP = {"subnet": 0.25, "v2": 0.25, "v3": 0.005}


def payload_of(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompress(data)


def subnet(payload: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(payload)


def header(n: int, version: int = 2, **changes: object) -> bytes:
    fields = {"magic": b"NGSP", "degree": 0, "bits": 12, "flags": 0, "reserved": 0} | changes
    magic, *small = fields.values()
    return struct.pack("<4sIIBBBB", magic, version, n, *small)


def angle(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Radians between rotations, in float64 so that small angles keep their digits."""
    a, b = (q.astype(np.float64) / np.linalg.norm(q.astype(np.float64), axis=1)[:, None]
            for q in (one, other))  # fmt: skip
    apart = np.minimum(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    return 4 * np.arcsin(np.clip(apart / 2, 0, 1))
