"""The SPZ codec: exact to the specification on output, suspicious on input."""

from __future__ import annotations

import gzip
import math
import struct
import tracemalloc
from pathlib import Path

import gsply
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from miner.encoder import planes, spz
from miner.errors import BadAsset, BadOption
from miner.geometry.gaussians import Gaussians
from tests.encoder.splats import assert_same, finite_gaussians, plausible, reference

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


# ---- what is written ---------------------------------------------------------------------------


def test_subnet_file_is_one_zstd_frame_of_16_plus_19_n_bytes_with_its_size() -> None:
    """The subnet's decoder allocates by the content size that the frame must carry."""
    data = spz.encode(plausible(1000))

    assert zstandard.get_frame_parameters(data).content_size == 16 + 19 * 1000
    assert payload_of(data)[:16] == header(1000)


@pytest.mark.parametrize(("variant", "version", "size"), [("v2", 2, 19), ("v3", 3, 20)])
def test_viewer_files_are_gzip_of_their_version(variant: str, version: int, size: int) -> None:
    """Variants v2 and v3 are gzip members with 19 and 20 bytes a Gaussian."""
    payload = payload_of(spz.encode(plausible(10), variant))

    assert payload[:16] == header(10, version)
    assert len(payload) == 16 + size * 10


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_splats_give_equal_files(variant: str) -> None:
    """Nothing but the splat enters a file: no time, no name."""
    assert spz.encode(plausible(9, 3), variant) == spz.encode(plausible(9, 3), variant)


def rounded(value: float) -> int:
    """Half away from zero, clamped to a byte: the specification, slowly."""
    return min(255, max(0, math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)))


def slow_planes(splat: Gaussians, version: int) -> bytes:
    """The specification read aloud: one Gaussian, one number at a time, in double precision."""
    out: list[bytes] = []
    for mean in splat.means.ravel().tolist():
        step = math.floor(abs(mean) * 4096 + 0.5) * (1 if mean >= 0 else -1)
        out.append(struct.pack("<i", step)[:3])
    out += [bytes([rounded(255 / (1 + math.exp(-x)))]) for x in splat.opacity_logits.tolist()]
    out += [bytes([rounded(c * 0.15 * 255 + 127.5)]) for c in splat.sh_dc.ravel().tolist()]
    out += [bytes([rounded((s + 10) * 16)]) for s in splat.log_scales.ravel().tolist()]
    for w, x, y, z in splat.quats.tolist():
        length = math.sqrt(w * w + x * x + y * y + z * z)
        xyzw = [x / length, y / length, z / length, w / length]
        out.append(slow_smallest_three(xyzw) if version == 3 else slow_first_three(xyzw))
    for coefficients in splat.sh_rest.tolist():
        for place, rgb in enumerate(coefficients):
            bucket = 8 if place < 3 else 16
            for value in rgb:
                q = math.floor(abs(value) * 128 + 0.5) * (1 if value >= 0 else -1) + 128
                out.append(bytes([min(255, max(0, (q + bucket // 2) // bucket * bucket))]))
    return b"".join(out)


def slow_first_three(xyzw: list[float]) -> bytes:
    sign = -1 if xyzw[3] < 0 else 1
    return bytes(rounded(sign * c * 127.5 + 127.5) for c in xyzw[:3])


def slow_smallest_three(xyzw: list[float]) -> bytes:
    place = max(range(4), key=lambda i: abs(xyzw[i]))
    sign = -1 if xyzw[place] < 0 else 1
    word = place
    for i in range(4):
        if i != place:
            magnitude = math.floor(511 * abs(xyzw[i]) / math.sqrt(0.5) + 0.5)
            word = word << 10 | (512 if sign * xyzw[i] < 0 else 0) | magnitude
    return struct.pack("<I", word)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("degree", range(4))
def test_planes_agree_with_the_slow_twin(version: int, degree: int) -> None:
    """The vectorised planes are those of the specification read number by number.

    The twin works in double precision. A number within float32's rounding of a half may go to the
    next step; at this size a handful of 20,000 to 60,000 bytes does, and none by more than one.
    """
    splat = plausible(1000, degree, seed=version)
    fast = np.concatenate(planes.pack(splat, version))
    slow = np.frombuffer(slow_planes(splat, version), np.uint8)

    differing = fast != slow

    assert differing.sum() <= 5
    assert np.abs(fast.astype(int) - slow)[differing].max(initial=0) in (0, 1)


def test_halves_are_rounded_away_from_zero() -> None:
    """Exactly between two steps the larger magnitude wins, for positions of either sign too."""
    splat = plausible(4)
    means = np.array([[0.5, -0.5, 1.5], [-1.5, 2.5, -2.5], [0, 0.49999997, 3], [0, 0, 0]]) / 4096
    scales = np.array([[0.5, 1.5, 2.5], [0.25, 0, 254.5], [255, 256, -1], [0, 0, 0]])
    splat = Gaussians(
        means.astype(np.float32),
        (scales / 16 - 10).astype(np.float32),
        splat.quats,
        splat.opacity_logits,
        splat.sh_dc,
        splat.sh_rest,
    )

    packed = planes.pack(splat, 2)

    steps = [int.from_bytes(packed[0][i : i + 3], "little", signed=True) for i in range(0, 36, 3)]
    assert steps == [1, -1, 2, -2, 3, -3, 0, 0, 3, 0, 0, 0]
    assert packed[3].tolist()[:9] == [1, 2, 3, 0, 0, 255, 255, 255, 0]


def test_identity_is_stored_as_the_subnet_stores_it() -> None:
    """An identity rotation comes back as about (0.99998, .0039, .0039, .0039) in version 2."""
    splat = plausible(1)
    splat.quats[:] = [1, 0, 0, 0]

    back = spz.decode(spz.encode(splat)).quats[0]

    np.testing.assert_allclose(back, [0.99998, 0.00392, 0.00392, 0.00392], atol=1e-5)


# ---- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@given(degree=st.integers(0, 3), seed=st.integers(0, 1000))
def test_round_trip_is_within_quantisation(variant: str, degree: int, seed: int) -> None:
    """Every attribute comes back within half a step of its quantisation."""
    splat = plausible(30, degree, seed)

    back = spz.decode(spz.encode(splat, variant))

    assert back.sh_degree == degree
    np.testing.assert_allclose(back.means, splat.means, atol=0.5001 / 4096)
    np.testing.assert_allclose(back.log_scales, splat.log_scales, atol=0.5001 / 16)
    np.testing.assert_allclose(back.sh_dc, np.clip(splat.sh_dc, -3.33, 3.33), atol=0.0135)
    alpha = [1 / (1 + np.exp(-g.opacity_logits.astype(np.float64))) for g in (back, splat)]
    np.testing.assert_allclose(*alpha, atol=0.5001 / 255)
    np.testing.assert_allclose(back.sh_rest[:, :3], splat.sh_rest[:, :3], atol=4.51 / 128)
    np.testing.assert_allclose(back.sh_rest[:, 3:], splat.sh_rest[:, 3:], atol=8.51 / 128)
    assert angle(back.quats, splat.quats).max() < ANGLE_STEP[variant]


@pytest.mark.parametrize("variant", VARIANTS)
@given(splat=finite_gaussians(reach=REACH))
def test_any_splat_survives_and_a_second_pass_changes_nothing(
    variant: str, splat: Gaussians
) -> None:
    """Encoding is idempotent: what was decoded encodes to the same bytes again.

    Not the rotations': where the stored components are longer than a unit or two are equally
    large, they are stored afresh, within the angle that a step makes.
    """
    once = spz.decode(spz.encode(splat, variant))
    twice = spz.decode(spz.encode(once, variant))

    for name in ("means", "log_scales", "opacity_logits", "sh_dc", "sh_rest"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name), err_msg=name)
    assert angle(twice.quats, once.quats).max() < ANGLE_STEP[variant]


def test_opacities_of_zero_and_one_are_infinite_logits() -> None:
    """The ends of the scale decode to infinities, and those encode to the ends."""
    splat = plausible(3)
    splat.opacity_logits[:] = [-np.inf, 0, np.inf]

    back = spz.decode(spz.encode(splat))

    assert back.opacity_logits[0] == -np.inf
    assert back.opacity_logits[2] == np.inf


# ---- what is refused on output -----------------------------------------------------------------


def with_first(name: str, value: float) -> Gaussians:
    splat = plausible(3, degree=1)
    getattr(splat, name)[0] = value
    return splat


@pytest.mark.parametrize(
    ("splat", "words"),
    [
        (plausible(0), "no Gaussians"),
        (with_first("means", 2048), r"\+-2048"),
        (with_first("means", 2047.99995), r"\+-2048"),
        (with_first("means", -3e38), r"\+-2048"),
        (with_first("quats", 0), "zero length"),
        *[(with_first(name, np.nan), name)
          for name in ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")],
        *[(with_first(name, np.inf), name) for name in ("means", "log_scales", "quats", "sh_dc")],
    ],
)  # fmt: skip
def test_what_a_file_cannot_hold_is_refused(splat: Gaussians, words: str) -> None:
    """A splat that cannot be stored truthfully is refused, never stored wrapped or as garbage."""
    with pytest.raises(BadAsset, match=words):
        spz.encode(splat)


def test_quaternions_of_any_length_are_normalised() -> None:
    """Lengths that overflow or vanish when squared still give the same rotation."""
    splat = plausible(5)
    data = spz.encode(splat, "v3")
    for factor in (2.0**100, 2.0**-100):
        splat.quats[:] *= np.float32(factor)
        assert spz.encode(splat, "v3") == data
        splat.quats[:] /= np.float32(factor)


def test_unknown_variant_is_named() -> None:
    """The error lists what can be chosen."""
    with pytest.raises(BadOption, match=r"'v4'.*subnet, v2, v3"):
        spz.encode(plausible(1), "v4")


# ---- what is refused on input ------------------------------------------------------------------


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
        (gzip.compress(header(2) + bytes(38)) + b"x", "goes on"),
        (gzip.compress(header(2) + bytes(38))[:-1], "cut off"),
        (gzip.compress(header(2) + bytes(38))[:-8], "cut off"),
        (gzip.compress(header(2) + bytes(39)), "longer"),
        (subnet(header(2, magic=b"NGSQ") + bytes(38)), "NGSQ"),
        (subnet(header(2, 0) + bytes(38)), "version 0 in zstd"),
        (subnet(header(2, 3) + bytes(40)), "version 3 in zstd"),
        (gzip.compress(header(2, 4) + bytes(40)), "version 4 in gzip"),
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


# ---- peers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["v2", "v3"])
@pytest.mark.parametrize("degree", range(4))
def test_gsply_reads_ours(tmp_path: Path, variant: str, degree: int) -> None:
    """An independent reader finds in our viewer files what we find in them."""
    path = tmp_path / "ours.spz"
    path.write_bytes(spz.encode(plausible(500, degree), variant))

    theirs, ours = gsply.read_spz(path), spz.decode(path.read_bytes())

    np.testing.assert_array_equal(theirs.means, ours.means)
    np.testing.assert_allclose(theirs.scales, ours.log_scales, atol=1e-6)
    np.testing.assert_allclose(theirs.sh0, ours.sh_dc, atol=1e-6)
    np.testing.assert_allclose(theirs.quats, ours.quats, atol=2e-4)  # w of sqrt near 0
    inside = np.isfinite(ours.opacity_logits)
    np.testing.assert_allclose(theirs.opacities[inside], ours.opacity_logits[inside], atol=1e-4)
    if degree:
        np.testing.assert_array_equal(theirs.shN, ours.sh_rest)


@pytest.mark.parametrize("degree", range(4))
def test_we_read_gsply(tmp_path: Path, degree: int) -> None:
    """We find in an independent writer's version 3 file what it wrote."""
    splat, path = plausible(500, degree), tmp_path / "theirs.spz"
    unit = splat.quats / np.linalg.norm(splat.quats, axis=1, keepdims=True)
    rest = splat.sh_rest if degree else None
    cloud = gsply.GSData.from_arrays(
        splat.means, splat.log_scales, unit, splat.opacity_logits, splat.sh_dc, rest
    )
    gsply.write_spz(path, cloud, version=3)

    back = spz.decode(path.read_bytes())

    np.testing.assert_allclose(back.means, splat.means, atol=0.5001 / 4096)
    np.testing.assert_allclose(back.log_scales, splat.log_scales, atol=0.5001 / 16)
    np.testing.assert_allclose(back.sh_dc, splat.sh_dc, atol=0.0135)
    assert angle(back.quats, splat.quats).max() < 0.005
    if degree:
        np.testing.assert_allclose(back.sh_rest, splat.sh_rest, atol=0.51 / 128)


def test_the_subnets_own_asset_is_read() -> None:
    """The sample holds 267,776 Gaussians in 16 + 19 n bytes, and passes a second time unchanged.

    Its rotations are stored afresh, at most one step from where they were.
    """
    data = reference("robocop.spz").read_bytes()
    payload = payload_of(data)

    splat = spz.decode(data)
    again = payload_of(spz.encode(splat))

    n = len(splat)
    assert n == 267_776
    assert splat.sh_degree == 0
    assert len(payload) == len(again) == 16 + 19 * n
    assert again[: 16 + 16 * n] == payload[: 16 + 16 * n]
    before, after = (
        np.frombuffer(p[16 + 16 * n :], np.uint8).astype(int) for p in (payload, again)
    )
    assert np.abs(before - after).max() <= 1
    assert (before != after).mean() < 0.01


def test_decoding_twice_gives_the_same_splat() -> None:
    """Decoding keeps nothing from one file to the next."""
    one, other = spz.encode(plausible(5)), spz.encode(plausible(6, 2), "v3")

    assert_same(spz.decode(one), spz.decode(one))
    assert len(spz.decode(other)) == 6
