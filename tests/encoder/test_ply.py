"""The PLY codec: exact on output, tolerant of layout and strict about contents on input."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import gsply
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.encoder import ply
from miner.errors import BadAsset
from miner.geometry.gaussians import Gaussians
from tests.encoder.splats import assert_same, finite_gaussians, plausible, reference

PROPERTIES = [
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
]


def file_of(lines: list[str], body: bytes) -> bytes:
    return "\n".join([*lines, "end_header", ""]).encode() + body


def header_of(n: int, properties: list[str] | None = None) -> list[str]:
    return [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {n}",
        *(properties or [f"property float {name}" for name in PROPERTIES]),
    ]


def test_written_header_is_the_one_the_strictest_reader_takes() -> None:
    """The header holds the format, the count, float properties and nothing else."""
    splat = plausible(3)

    data = ply.encode(splat)

    assert data[: -3 * 14 * 4] == file_of(header_of(3), b"")


def test_rows_hold_logits_logarithms_and_wxyz_in_that_order() -> None:
    """A row is the centre, sh_dc, opacity logit, log scales and quaternion of one Gaussian."""
    splat = plausible(2)

    row = np.frombuffer(ply.encode(splat)[-2 * 14 * 4 :], "<f4").reshape(2, 14)[1]

    parts = (splat.means, splat.sh_dc, splat.opacity_logits[:, None], splat.log_scales, splat.quats)
    np.testing.assert_array_equal(row, np.concatenate([part[1] for part in parts]))


def test_harmonics_are_written_channel_by_channel() -> None:
    """f_rest_i holds coefficient i mod K of channel i div K."""
    splat = plausible(4, degree=2)
    names = [f"f_rest_{i}" for i in range(24)]

    data = ply.encode(splat)
    rows = np.frombuffer(data[-4 * 38 * 4 :], "<f4").reshape(4, 38)

    assert b"f_dc_2\nproperty float f_rest_0\n" in data
    for i in range(len(names)):
        np.testing.assert_array_equal(rows[:, 6 + i], splat.sh_rest[:, i % 8, i // 8])


@given(finite_gaussians(), st.booleans())
def test_round_trip_is_exact(splat: Gaussians, normals: bool) -> None:
    """Decoding gives back every bit that was encoded, with and without normals."""
    assert_same(ply.decode(ply.encode(splat, normals=normals)), splat)


def test_normals_are_three_zeros_after_the_centre() -> None:
    """The 17-float layout differs from the 14-float one by zero normals alone."""
    data = ply.encode(plausible(5), normals=True)

    rows = np.frombuffer(data[-5 * 17 * 4 :], "<f4").reshape(5, 17)

    assert b"property float z\nproperty float nx\n" in data
    assert not rows[:, 3:6].any()


@given(st.randoms(use_true_random=False), st.booleans())
def test_order_extra_properties_and_doubles_do_not_matter(random: object, doubles: bool) -> None:
    """Properties are found by name, in any order, among others of any scalar type."""
    splat = plausible(6, degree=1)
    plain = np.frombuffer(ply.encode(splat)[-6 * 23 * 4 :], "<f4").reshape(6, 23)
    names = [*PROPERTIES[:6], *(f"f_rest_{i}" for i in range(9)), *PROPERTIES[6:]]
    kind = "<f8" if doubles else "<f4"
    fields = [(name, kind) for name in names] + [("red", "u1"), ("label", "<i2"), ("nx", "<f8")]
    random.shuffle(fields)  # type: ignore[attr-defined]
    rows = np.zeros(6, np.dtype(fields))
    for column, name in enumerate(names):
        rows[name] = plain[:, column]
    words = {"<f8": "double", "<f4": "float", "u1": "uchar", "<i2": "short"}
    lines = header_of(6, [f"property {words[dtype]} {name}" for name, dtype in fields])

    assert_same(ply.decode(file_of(lines, rows.tobytes())), splat)


def test_comments_are_skipped() -> None:
    """Comments may stand anywhere in the header, as other programs put them."""
    splat = plausible(2)
    data = ply.encode(splat).replace(b"\nelement", b"\ncomment made by hand\nelement")
    data = data.replace(b"\nend_header", b"\nobj_info x\ncomment\nend_header")

    assert_same(ply.decode(data), splat)


def changed(old: str, new: str) -> bytes:
    return ply.encode(plausible(2)).replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin"),
        (b"solid x", "does not begin"),
        (b"ply\n", "no end_header"),
        (changed("ply\n", "ply\r\n"), "CR"),
        (changed("1.0\n", "1.0\r\n"), "CR"),
        (changed("binary_little_endian", "ascii"), "ascii"),
        (changed("binary_little_endian", "binary_big_endian"), "big_endian"),
        (changed("element vertex 2", "element vertex -2"), "element vertex N"),
        (changed("element vertex 2", "element vertex 0"), "no Gaussians"),
        (changed("element vertex 2", "element vertex 3"), "cut off"),
        (changed("element vertex 2", "element vertex 1"), "too long"),
        (changed("element vertex 2", "element vertex 999999999999"), "999,999,999,999"),
        (changed("element vertex 2", "element vertex 9999999999999999"), "element vertex N"),
        (changed("element vertex 2\n", ""), "element vertex N"),
        (changed("float x", "float xx"), "no property 'x'"),
        (changed("float y", "float x"), "twice"),
        (changed("float x", "uchar x"), "float or double"),
        (changed("float x", "quad x"), "means nothing"),
        (changed("property float x", "property list uchar int x"), "list"),
        (changed("end_header", "element face 0\nend_header"), "face"),
        (changed("end_header", "property float f_rest_0\nend_header"), "1 f_rest"),
        (changed("float x", "float \xff"), "ASCII"),
        (changed("end_header", "comment " + "x" * 70_000 + "\nend_header"), "no end_header"),
    ],
)
def test_wrong_headers_are_named(data: bytes, words: str) -> None:
    """Whatever is wrong with a header is said in one line."""
    with pytest.raises(BadAsset, match=words) as caught:
        ply.decode(data)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", range(14))
def test_nan_is_refused_in_every_property(column: int) -> None:
    """No property of a splat may hold NaN, on the way in or out."""
    body = np.ones((2, 14), "<f4")
    body[1, column] = np.nan

    with pytest.raises(BadAsset, match=r"not finite|NaN"):
        ply.decode(file_of(header_of(2), body.tobytes()))


def test_doubles_beyond_float_are_refused() -> None:
    """A double that overflows float32 counts as not finite."""
    body = np.full((1, 14), 1e300, "<f8")
    lines = header_of(1, [f"property double {name}" for name in PROPERTIES])

    with pytest.raises(BadAsset, match="not finite"):
        ply.decode(file_of(lines, body.tobytes()))


def test_nothing_large_is_allocated_for_a_lying_count() -> None:
    """A count within the limit but beyond the file costs no memory."""
    data = changed("element vertex 2", "element vertex 9999999")
    tracemalloc.start()
    try:
        with pytest.raises(BadAsset, match="cut off"):
            ply.decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


def test_callers_may_set_a_lower_limit() -> None:
    """A file of more Gaussians than the caller allows is refused with both numbers."""
    with pytest.raises(BadAsset, match=r"12.*10"):
        ply.decode(ply.encode(plausible(12)), max_gaussians=10)


def test_every_truncation_is_refused() -> None:
    """A file cut off anywhere is refused, whole rows or not."""
    data = ply.encode(plausible(2))

    for length in range(len(data)):
        with pytest.raises(BadAsset):
            ply.decode(data[:length])


@given(st.binary(max_size=400), st.integers(0, 700))
def test_garbage_gives_bad_asset_or_a_splat(garbage: bytes, at: int) -> None:
    """Bytes overwritten anywhere give a splat or BadAsset, and never another exception."""
    data = bytearray(ply.encode(plausible(2)))
    data[at : at + len(garbage)] = garbage

    try:
        assert len(ply.decode(bytes(data))) >= 1
    except BadAsset as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("degree", range(4))
def test_gsply_reads_ours(tmp_path: Path, degree: int) -> None:
    """An independent reader finds the same numbers in our files."""
    splat, path = plausible(50, degree), tmp_path / "ours.ply"
    path.write_bytes(ply.encode(splat))

    theirs = gsply.plyread(path)

    np.testing.assert_array_equal(theirs.means, splat.means)
    np.testing.assert_array_equal(theirs.scales, splat.log_scales)
    np.testing.assert_array_equal(theirs.quats, splat.quats)
    np.testing.assert_array_equal(theirs.opacities, splat.opacity_logits)
    np.testing.assert_array_equal(theirs.sh0, splat.sh_dc)
    if degree:
        np.testing.assert_array_equal(theirs.shN, splat.sh_rest)


@pytest.mark.parametrize("degree", range(4))
def test_we_read_gsply(tmp_path: Path, degree: int) -> None:
    """We find the same numbers in an independent writer's files."""
    splat, path = plausible(50, degree), tmp_path / "theirs.ply"
    gsply.plywrite(
        path,
        splat.means,
        splat.log_scales,
        splat.quats,
        splat.opacity_logits,
        splat.sh_dc,
        splat.sh_rest if degree else None,
    )

    assert_same(ply.decode(path.read_bytes()), splat)


def test_a_real_asset_comes_through_byte_for_byte() -> None:
    """The subnet's own sample decodes to its 52,709 Gaussians and encodes to the same file."""
    data = reference("hamburger.ply").read_bytes()

    splat = ply.decode(data)

    assert len(splat) == 52_709
    assert ply.encode(splat) == data
