"""PLY files as 3D Gaussian splatting uses them: one ``vertex`` element, binary little-endian.

Written is exactly what the strictest reader takes (the subnet's own PLY-to-SPZ encoder): "ply",
the format line, "element vertex N", then only ``property float`` lines, no comments, bare newlines.
Read is any order of properties, extra scalar properties, comments, and doubles for floats; not
ASCII, big-endian, lists, other elements or the packed "compressed PLY" of some editors.

Values are stored as ``Gaussians`` holds them (logits, logarithms, ``wxyz``), and in its frame.
Harmonics come channel by channel in ``f_rest_*``: all K of red, then green, then blue.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from numpy.typing import NDArray

from miner.encoder.limits import MAX_GAUSSIANS, require_count, require_finite
from miner.errors import BadAsset
from miner.geometry.gaussians import SH_REST_COUNTS, FloatArray, Gaussians

_MEANS: Final = ("x", "y", "z")
_NORMALS: Final = ("nx", "ny", "nz")
_SH_DC: Final = ("f_dc_0", "f_dc_1", "f_dc_2")
_OPACITY: Final = ("opacity",)
_SCALES: Final = ("scale_0", "scale_1", "scale_2")
_QUATS: Final = ("rot_0", "rot_1", "rot_2", "rot_3")

_MAX_HEADER_BYTES: Final = 64 << 10  # sixty-two properties take two thousand
_END: Final = b"\nend_header\n"
_SCALARS: Final = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "<i2", "int16": "<i2", "ushort": "<u2", "uint16": "<u2",
    "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4",
    "float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip


class _Layout(NamedTuple):
    """What a header says: where the rows begin, how many, and their properties in file order."""

    offset: int
    vertices: int
    properties: dict[str, str]  # name -> numpy type


def encode(gaussians: Gaussians, *, normals: bool = False) -> bytes:
    """The bytes of a PLY file: 14 floats a Gaussian and three more per harmonic.

    Args:
        gaussians: any number up to ``MAX_GAUSSIANS``, degree 0 to 3.
        normals: add three zeros after the centre, for readers that insist on 17 floats.

    Raises:
        BadAsset: no Gaussians or too many, or numbers that are not finite.
    """
    require_count(len(gaussians))
    require_finite(gaussians)
    n, k = gaussians.sh_rest.shape[:2]
    columns: list[tuple[tuple[str, ...], FloatArray | float]] = [
        (_MEANS, gaussians.means),
        (_NORMALS if normals else (), 0.0),
        (_SH_DC, gaussians.sh_dc),
        (_rest_names(k), gaussians.sh_rest.transpose(0, 2, 1).reshape(n, 3 * k)),
        (_OPACITY, gaussians.opacity_logits[:, None]),
        (_SCALES, gaussians.log_scales),
        (_QUATS, gaussians.quats),
    ]
    names = [name for group, _ in columns for name in group]
    rows = np.empty((n, len(names)), "<f4")
    start = 0
    for group, values in columns:
        rows[:, start : start + len(group)] = values
        start += len(group)
    return b"".join([_header(n, names), rows.data])


def decode(data: bytes, *, max_gaussians: int = MAX_GAUSSIANS) -> Gaussians:
    """The Gaussians of a PLY file.

    The size of the file must be exactly what its header says, which is checked before any array is
    made. Properties that a splat does not have are skipped.

    Args:
        data: the whole file.
        max_gaussians: refuse a file that holds more.

    Raises:
        BadAsset: not such a PLY file, cut off or followed by more, a property missing, twice there
            or of the wrong type, too many Gaussians, numbers that are not finite.
    """
    layout = _parse_header(data)
    require_count(layout.vertices, max_gaussians)
    rest = _check_properties(layout.properties)
    row = np.dtype([(name, kind) for name, kind in layout.properties.items()])
    wanted, there = layout.vertices * row.itemsize, len(data) - layout.offset
    if there != wanted:
        wrong = "cut off" if there < wanted else "too long"
        raise BadAsset(
            f"the PLY file is {wrong}: {layout.vertices:,} vertices of {row.itemsize} bytes make "
            f"{wanted:,} bytes, {there:,} follow the header"
        )
    rows = np.frombuffer(data, row, layout.vertices, layout.offset)
    n, k = layout.vertices, len(rest) // 3
    gaussians = Gaussians(
        means=_columns(rows, _MEANS),
        log_scales=_columns(rows, _SCALES),
        quats=_columns(rows, _QUATS),
        opacity_logits=_columns(rows, _OPACITY)[:, 0],
        sh_dc=_columns(rows, _SH_DC),
        sh_rest=np.ascontiguousarray(_columns(rows, rest).reshape(n, 3, k).transpose(0, 2, 1)),
    )
    require_finite(gaussians)
    return gaussians


def _rest_names(k: int) -> tuple[str, ...]:
    return tuple(f"f_rest_{i}" for i in range(3 * k))


def _header(count: int, names: list[str]) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [f"property float {name}" for name in names]
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def _columns(rows: NDArray[np.void], names: tuple[str, ...]) -> FloatArray:
    """[N,len(names)] float32 copies of some properties; doubles beyond float32 become infinite."""
    if not names:
        return np.empty((len(rows), 0), np.float32)
    with np.errstate(over="ignore"):
        values = structured_to_unstructured(rows[list(names)], np.float32, copy=False)
    return np.array(values, np.float32, order="C")


def _parse_header(data: bytes) -> _Layout:
    if not data.startswith((b"ply\n", b"ply\r")):
        raise BadAsset("not a PLY file: it does not begin with the line 'ply'")
    head = data[:_MAX_HEADER_BYTES]
    if b"\r" in head[: head.find(b"end_header")]:
        raise BadAsset("the PLY header ends its lines with CR; they must end with LF alone")
    end = head.find(_END)
    if end < 0:
        raise BadAsset(f"the PLY header has no end_header line in its first {len(head):,} bytes")
    try:
        lines = head[:end].decode("ascii").split("\n")[1:]
    except UnicodeDecodeError as error:
        raise BadAsset("the PLY header is not plain ASCII text") from error
    lines = [line.rstrip() for line in lines if not line.startswith(("comment", "obj_info"))]
    if not lines or lines[0] != "format binary_little_endian 1.0":
        found = lines[0] if lines else "nothing"
        raise BadAsset(
            f"the PLY file must be 'format binary_little_endian 1.0', this says {found[:60]!r}"
        )
    count = re.fullmatch(r"element vertex (\d{1,12})", lines[1]) if len(lines) > 1 else None
    if count is None:
        raise BadAsset("the PLY header must name 'element vertex N' after its format")
    return _Layout(end + len(_END), int(count[1]), _parse_properties(lines[2:]))


def _parse_properties(lines: list[str]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for line in lines:
        words = line.split()
        if words[:1] == ["element"]:
            raise BadAsset(f"the PLY file holds {line[:60]!r}; only vertices are read here")
        if words[:2] == ["property", "list"]:
            raise BadAsset(f"the PLY file holds a list ({line[:60]!r}); only scalars are read here")
        if len(words) != 3 or words[0] != "property" or words[1] not in _SCALARS:
            raise BadAsset(f"the PLY header has a line that means nothing here: {line[:60]!r}")
        if words[2] in properties:
            raise BadAsset(f"the PLY header names the property {words[2][:40]!r} twice")
        properties[words[2]] = _SCALARS[words[1]]
    return properties


def _check_properties(properties: dict[str, str]) -> tuple[str, ...]:
    """Demand what a splat needs, as floats; return the names of its higher harmonics."""
    rest = tuple(name for name in properties if name.startswith("f_rest_"))
    expected = _rest_names(len(rest) // 3)
    if len(rest) // 3 not in SH_REST_COUNTS or set(rest) != set(expected):
        raise BadAsset(
            f"the PLY file has {len(rest)} f_rest properties; harmonics of degree 0 to 3 take "
            "0, 9, 24 or 45, numbered from 0"
        )
    for name in (*_MEANS, *_SH_DC, *_OPACITY, *_SCALES, *_QUATS, *expected):
        if name not in properties:
            raise BadAsset(f"the PLY file has no property {name!r}; it is no Gaussian splat")
        if properties[name] not in ("<f4", "<f8"):
            raise BadAsset(f"the PLY property {name!r} must be float or double")
    return expected
