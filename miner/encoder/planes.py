"""SPZ's attribute planes: a splat quantised to 19 or 20 bytes a Gaussian, and back.

The planes follow each other without padding, little-endian, in this order:

    positions   9 bytes   three signed 24-bit fixed-point numbers (version 1: three float16)
    alphas      1 byte    255 * opacity
    colours     3 bytes   sh_dc * 0.15 * 255 + 127.5
    scales      3 bytes   (log_scale + 10) * 16
    rotations   3 bytes   x, y, z of the unit quaternion with w >= 0, each * 127.5 + 127.5
                4 bytes   from version 3 on: "smallest three", see ``_pack_smallest_three``
    harmonics   3 K bytes 128 * value + 128, channels innermost, to 5 bits in band 1, 4 in the rest

Bytes are clamped to 0..255 and rounded half away from zero, all in float32, as the reference
encoders do. SPZ stands right-up-back, which is the scene frame: nothing is turned.

Source: nianticlabs/spz (format description) and 404-Repo/spz, both MIT. One difference: a centre
outside the fixed-point range is refused, where the references let it wrap round.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from miner.errors import BadAsset
from miner.geometry.gaussians import SH_REST_COUNTS, FloatArray, Gaussians

ByteArray = NDArray[np.uint8]

FRACTIONAL_BITS: Final = 12  # steps of 0.24 mm, range +-2048
_COLOR_SCALE: Final = np.float32(0.15)
_SQRT_HALF: Final = np.float32(np.sqrt(0.5))
_MAGNITUDE_MAX: Final = 511  # nine bits
_BAND_1_BUCKET, _BAND_REST_BUCKET = 1 << (8 - 5), 1 << (8 - 4)

# Adding the float just under a half, then truncating, rounds halves away from zero and is right for
# every other float32 too; adding a half itself would round 0.49999997 up.
_HALF: Final = np.nextafter(np.float32(0.5), np.float32(0))


def bytes_per_gaussian(version: int, sh_degree: int) -> int:
    """Length of a Gaussian in the payload of a file of that version, 1 to 3."""
    position, rotation = (6 if version == 1 else 9), (4 if version >= 3 else 3)
    return position + 1 + 3 + 3 + rotation + 3 * SH_REST_COUNTS[sh_degree]


def pack(gaussians: Gaussians, version: int) -> list[ByteArray]:
    """The planes of a file of version 2 or 3, flat and in file order.

    Args:
        gaussians: finite (see ``limits.require_finite``).
        version: decides how rotations are packed.

    Raises:
        BadAsset: a centre out of range, or a rotation of zero length.
    """
    quats = _unit_xyzw(gaussians.quats)
    with np.errstate(over="ignore"):  # overflowing to infinity is clamped like any large number
        return [
            _pack_positions(gaussians.means),
            _to_bytes(_opacities(gaussians.opacity_logits) * np.float32(255)),
            _to_bytes(gaussians.sh_dc * (_COLOR_SCALE * np.float32(255)) + np.float32(127.5)),
            _to_bytes((gaussians.log_scales + np.float32(10)) * np.float32(16)),
            _pack_smallest_three(quats) if version >= 3 else _pack_first_three(quats),
            _pack_harmonics(gaussians.sh_rest),
        ]


def unpack(payload: bytes, count: int, version: int, sh_degree: int, bits: int) -> Gaussians:
    """The Gaussians of a payload of exactly ``count * bytes_per_gaussian(...)`` bytes.

    Args:
        payload: the planes, without the file's header.
        count: number of Gaussians.
        version: 1, 2 or 3.
        sh_degree: 0 to 3.
        bits: fractional bits of the positions; version 1 ignores them.
    """
    position, rotation = (6 if version == 1 else 9), (4 if version >= 3 else 3)
    k = SH_REST_COUNTS[sh_degree]
    lengths = np.array([position, 1, 3, 3, rotation, 3 * k]) * count
    stored = np.frombuffer(payload, np.uint8)
    xyz, alphas, colors, scales, quats, harmonics = np.split(stored, np.cumsum(lengths)[:-1])
    return Gaussians(
        means=_unpack_halves(xyz) if version == 1 else _unpack_positions(xyz, bits),
        log_scales=_LOG_SCALES[scales].reshape(count, 3),
        quats=_unpack_smallest_three(quats) if version >= 3 else _unpack_first_three(quats),
        opacity_logits=_OPACITY_LOGITS[alphas],
        sh_dc=_SH_DC[colors].reshape(count, 3),
        sh_rest=_SH_REST[harmonics].reshape(count, k, 3),
    )


def _opacities(logits: FloatArray) -> FloatArray:
    opacities: FloatArray = np.float32(1) / (np.float32(1) + np.exp(-logits))
    return opacities


def _to_bytes(values: FloatArray) -> ByteArray:
    """Round, clamp and flatten; ``values`` is scratch and is overwritten."""
    np.clip(values, 0, 255, out=values)
    values += _HALF
    return values.astype(np.uint8).ravel()


def _pack_positions(means: FloatArray) -> ByteArray:
    steps = means.ravel() * np.float32(1 << FRACTIONAL_BITS)
    steps = np.trunc(steps + np.copysign(_HALF, steps))
    if steps.min() < -(1 << 23) or steps.max() >= 1 << 23:
        reach = 1 << (23 - FRACTIONAL_BITS)
        far = float(np.abs(means).max())
        raise BadAsset(f"SPZ holds centres within +-{reach} units; one lies at {far:.6g}")
    words = steps.astype("<i4").view(np.uint8)
    packed = np.empty(3 * len(steps), np.uint8)
    for byte in range(3):
        packed[byte::3] = words[byte::4]
    return packed


def _unpack_positions(stored: ByteArray, bits: int) -> FloatArray:
    words = np.zeros((len(stored) // 3, 4), np.uint8)
    words[:, 1:] = stored.reshape(-1, 3)
    fixed = words.view("<i4") >> 8  # from the top three bytes: the shift extends the sign
    return (fixed.astype(np.float32) * np.float32(2.0**-bits)).reshape(-1, 3)


def _unpack_halves(stored: ByteArray) -> FloatArray:
    return stored.view("<f2").astype(np.float32).reshape(-1, 3)


def _unit_xyzw(quats: FloatArray) -> FloatArray:
    """[N,4] unit quaternions ``xyzw`` from ``wxyz`` of any length but zero."""
    xyzw = np.roll(quats, -1, axis=1)
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", xyzw, xyzw)
    if squares.min() < 1e-30 or squares.max() > 1e30:  # squares lost digits: scale first
        largest = np.abs(xyzw).max(axis=1, keepdims=True)
        if largest.min() == 0:
            raise BadAsset("the splat has a rotation of zero length")
        xyzw = xyzw / largest
        squares = np.einsum("ij,ij->i", xyzw, xyzw)
    xyzw /= np.sqrt(squares)[:, None]
    return xyzw


def _pack_first_three(xyzw: FloatArray) -> ByteArray:
    sign = np.where(xyzw[:, 3:] < 0, np.float32(-127.5), np.float32(127.5))
    return _to_bytes(xyzw[:, :3] * sign + np.float32(127.5))


def _unpack_first_three(stored: ByteArray) -> FloatArray:
    quats = np.empty((len(stored) // 3, 4), np.float32)
    xyz = _UNIT_COMPONENTS[stored].reshape(-1, 3)
    quats[:, 1:] = xyz
    quats[:, 0] = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", xyz, xyz)))
    return quats


def _pack_smallest_three(xyzw: FloatArray) -> ByteArray:
    """One 32-bit word each: the place of the largest component, then the other three.

    From the top: two bits for the place (0 to 3 of ``xyzw``), then ten bits for each other
    component in the order ``xyzw``: a sign bit and a magnitude in units of sqrt(1/2)/511, for
    no component but the largest exceeds sqrt(1/2). The signs are those of the quaternion whose
    largest component is positive, so that it follows from the length.
    """
    x, y, z, w = xyzw.T
    place = np.argmax(np.abs(xyzw), axis=1)
    negate = np.take_along_axis(xyzw, place[:, None], axis=1)[:, 0] < 0
    word = place.astype(np.uint32)
    for kept in (
        np.where(place == 0, y, x),
        np.where(place <= 1, z, y),
        np.where(place <= 2, w, z),
    ):
        steps = np.abs(kept) / _SQRT_HALF * np.float32(_MAGNITUDE_MAX) + _HALF
        magnitude = np.minimum(steps.astype(np.uint32), _MAGNITUDE_MAX)
        word = word << 10 | ((kept < 0) ^ negate).astype(np.uint32) << 9 | magnitude
    packed: ByteArray = word.astype("<u4").view(np.uint8)
    return packed


def _unpack_smallest_three(stored: ByteArray) -> FloatArray:
    word = stored.view("<u4")
    place = word >> 30
    a, b, c = (_SIGNED_MAGNITUDES[word >> shift & 1023] for shift in (20, 10, 0))
    largest = np.sqrt(np.maximum(0, 1 - (a * a + b * b + c * c)))
    quats = np.empty((len(word), 4), np.float32)
    quats[:, 1] = np.where(place == 0, largest, a)
    quats[:, 2] = np.where(place == 1, largest, np.where(place == 0, a, b))
    quats[:, 3] = np.where(place == 2, largest, np.where(place == 3, c, b))
    quats[:, 0] = np.where(place == 3, largest, c)
    return quats


def _pack_harmonics(sh_rest: FloatArray) -> ByteArray:
    """Bytes as the file holds them, each at the middle of a bucket so that they compress well."""
    bucket = np.full((sh_rest.shape[1], 1), _BAND_REST_BUCKET, np.int32)
    bucket[:3] = _BAND_1_BUCKET
    steps = np.clip(sh_rest * np.float32(128), -256, 256)  # well outside a byte, inside an int
    steps = np.trunc(steps + np.copysign(_HALF, steps)).astype(np.int32) + 128
    steps = (steps + bucket // 2) // bucket * bucket
    packed: ByteArray = np.clip(steps, 0, 255).astype(np.uint8).ravel()
    return packed


def _opacity_logits() -> FloatArray:
    alpha = np.arange(256) / 255
    with np.errstate(divide="ignore"):  # 0 and 255 stand for fully clear and fully opaque
        return np.log(alpha / (1 - alpha)).astype(np.float32)


def _signed_magnitudes() -> FloatArray:
    magnitudes = _SQRT_HALF * np.arange(512, dtype=np.float32) / np.float32(_MAGNITUDE_MAX)
    return np.concatenate([magnitudes, -magnitudes])


# What each stored value means.
_BYTES: Final = np.arange(256, dtype=np.float32)
_LOG_SCALES: Final = _BYTES / np.float32(16) - np.float32(10)
_SH_DC: Final = (_BYTES / np.float32(255) - np.float32(0.5)) / _COLOR_SCALE
_SH_REST: Final = (_BYTES - np.float32(128)) / np.float32(128)
_UNIT_COMPONENTS: Final = _BYTES * np.float32(1 / 127.5) - np.float32(1)
_OPACITY_LOGITS: Final = _opacity_logits()
_SIGNED_MAGNITUDES: Final = _signed_magnitudes()
