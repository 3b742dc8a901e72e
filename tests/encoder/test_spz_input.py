"""What the SPZ codec accepts and refuses: files made by hand, cut, changed and inflated."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from miner.encoder import spz
from miner.errors import BadAsset
from tests.encoder.splats import plausible
from tests.encoder.spz_files import VARIANTS, header, payload_of, subnet


def gzipped(data: bytes) -> bytes:
    """Without the time, so that it names the same test in every process."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither"),
        (b"hello", "neither"),
        (header(1, 4) + bytes(20), "version 4"),
        (b"\x28\xb5\x2f\xfd", "damaged"),
        (subnet(b""), "cut off"),
        (subnet(header(1)[:15]), "cut off"),
        (subnet(header(0)), "no Gaussians"),
        (subnet(header(2) + bytes(37)), "cut off|more than its file"),
        (subnet(header(2) + bytes(39)), "longer"),
        (subnet(header(2) + bytes(38)) + b"x", "goes on for 1 "),
        (subnet(header(2) + bytes(38)) * 2, "goes on"),
        (gzipped(header(2) + bytes(38)) + b"x", "goes on"),
        (gzipped(header(2) + bytes(38))[:-1], "cut off"),
        (gzipped(header(2) + bytes(38))[:-8], "cut off"),
        (gzipped(header(2) + bytes(39)), "longer"),
        (subnet(header(2, magic=b"NGSQ") + bytes(38)), "NGSQ"),
        (subnet(header(2, 0) + bytes(38)), "version 0 in zstd"),
        (subnet(header(2, 3) + bytes(40)), "version 3 in zstd"),
        (gzipped(header(2, 4) + bytes(40)), "version 4 in gzip"),
        (subnet(header(2, degree=4) + bytes(38)), "degree 4"),
        (subnet(header(2, bits=25) + bytes(38)), "25 fractional"),
        (subnet(header(2, flags=2) + bytes(38)), "0x02"),
        (subnet(header(2, flags=0x81) + bytes(38)), "0x81"),
        (subnet(header(2, reserved=1) + bytes(38)), "0x01"),
        (subnet(header(10_000_001) + bytes(38)), "10,000,001.*10,000,000"),
        (subnet(header(10_000_000) + bytes(38)), "more than its file"),
        (subnet(header(10_000_000, degree=3) + bytes(38)), "is over 268,435,456"),
        (subnet(header(1, 1) + b"\x00\x7e" * 3 + bytes(10)), "not finite"),
    ],
)
def test_wrong_files_are_named(data: bytes, words: str) -> None:
    """Whatever is wrong with a file is said in one line."""
    with pytest.raises(BadAsset, match=words) as caught:
        spz.decode(data)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flags", [0, 1])
def test_antialiasing_flag_is_accepted(flags: int) -> None:
    """The one flag that changes nothing in the numbers is no reason to refuse."""
    assert len(spz.decode(subnet(header(2, flags=flags) + bytes(38)))) == 2


def test_frames_without_a_content_size_are_read() -> None:
    """Only writing must carry the size; reading does not depend on it."""
    payload = header(2) + bytes(38)
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(payload)

    assert len(spz.decode(frame)) == 2


def test_checksummed_frames_are_checked() -> None:
    """A frame's own checksum is verified where it has one."""
    frame = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(header(2) + bytes(38)))
    assert len(spz.decode(bytes(frame))) == 2
    frame[-1] ^= 1

    with pytest.raises(BadAsset, match="damaged"):
        spz.decode(bytes(frame))


@pytest.mark.parametrize("wrap", [subnet, gzip.compress])
def test_version_1_has_float16_positions(wrap: object) -> None:
    """The oldest files keep centres as half-precision floats, six bytes a Gaussian."""
    halves = np.array([[0.5, -1.25, 3], [100, 0, -0.001]], "<f2")
    data = wrap(header(2, 1) + halves.tobytes() + bytes(20))  # type: ignore[operator]

    np.testing.assert_array_equal(spz.decode(data).means, halves.astype(np.float32))


def test_fractional_bits_scale_the_positions() -> None:
    """A position is its fixed-point number over two to the header's fractional bits."""
    body = (3).to_bytes(3, "little") + (-5 & 0xFFFFFF).to_bytes(3, "little") + bytes(3 + 10)

    means = spz.decode(subnet(header(1, bits=2) + body)).means

    assert means.tolist() == [[0.75, -1.25, 0]]


@pytest.mark.parametrize("wrap", [subnet, gzip.compress])
@pytest.mark.parametrize("claimed", [100, 10_000_000, 2**32 - 1])
def test_bombs_cost_no_memory(wrap: object, claimed: int) -> None:
    """A small file that expands to far more than its header says is refused before it expands."""
    bomb = wrap(header(claimed) + bytes(1 << 26))  # type: ignore[operator]
    allowed = 1 << 20 if claimed != 10_000_000 else 1 << 26  # that many bytes are really there
    tracemalloc.start()
    try:
        with pytest.raises(BadAsset):
            spz.decode(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak <= allowed + len(bomb)


def test_a_lying_content_size_costs_no_memory() -> None:
    """A frame's claim about its size is not believed beyond what its blocks can hold."""
    honest = subnet(header(1_000_000) + bytes(1000))
    frame = bytearray(honest[:4])
    frame += bytes([0xA0]) + struct.pack("<I", 16 + 19_000_000)  # single segment, 4-byte size
    frame += honest[zstandard.frame_header_size(honest) :]
    tracemalloc.start()
    try:
        with pytest.raises(BadAsset):
            spz.decode(bytes(frame))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_truncation_is_refused(variant: str) -> None:
    """A file cut off anywhere is refused."""
    data = spz.encode(plausible(3), variant)

    for length in range(len(data)):
        with pytest.raises(BadAsset):
            spz.decode(data[:length])


@pytest.mark.parametrize("variant", VARIANTS)
@given(garbage=st.binary(max_size=40), at=st.integers(0, 120), inside=st.booleans())
def test_garbage_gives_bad_asset_or_a_splat(
    variant: str, garbage: bytes, at: int, inside: bool
) -> None:
    """Bytes overwritten in the file or in its payload give a splat or BadAsset, nothing else."""
    data = spz.encode(plausible(4), variant)
    changed = bytearray(payload_of(data) if inside else data)
    changed[at : at + len(garbage)] = garbage
    wrap = subnet if variant == "subnet" else gzip.compress

    try:
        assert len(spz.decode(wrap(bytes(changed)) if inside else bytes(changed))) >= 1
    except BadAsset as error:
        assert "\n" not in str(error)
