"""Pictures for people: one view, a contact sheet of the scorer's views, a turntable.

They are made on the CPU, which is quick enough and leaves the GPU to the jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from miner.errors import BadOption, OutputError
from miner.geometry.cameras import (
    SCORER_ELEVATION_DEG,
    SCORER_FOV_Y_DEG,
    SCORER_RADIUS,
    Camera,
    scorer_cameras,
)
from miner.geometry.gaussians import Gaussians
from miner.geometry.placement import SCORER_LONGEST_SIDE, normalize_longest_side
from miner.rendering.rasterize import render

TURNTABLE_SECONDS = 4.0
"""Length of one turn, whatever the number of frames."""

_GIF_STEP_SECONDS = 0.01
"""GIF counts time in hundredths of a second, and viewers slow down anything below two of them."""


def view(
    gaussians: Gaussians,
    azimuth: float = 0.0,
    elevation: float = SCORER_ELEVATION_DEG,
    radius: float = SCORER_RADIUS,
    fov: float = SCORER_FOV_Y_DEG,
    size: int = 518,
    longest_side: float | None = SCORER_LONGEST_SIDE,
    background: str = "white",
) -> Image.Image:
    """One square RGB picture.

    Args:
        gaussians: the splat.
        azimuth: degrees; 0 looks at the front, 90 from +X.
        elevation: degrees, positive above.
        radius: distance of the camera from the origin.
        fov: vertical field of view in degrees.
        size: side in pixels.
        longest_side: the splat is scaled to it as the scorer does; None leaves it as it is.
        background: a colour's name or ``#rrggbb``.

    Raises:
        BadOption: a number out of its range, or no such background.
    """
    camera = Camera.orbit(azimuth, elevation, radius, fov, size)
    return _picture(_placed(gaussians, longest_side), camera, background)


def contact_sheet(
    gaussians: Gaussians,
    size: int = 256,
    columns: int = 4,
    longest_side: float | None = SCORER_LONGEST_SIDE,
    background: str = "white",
) -> Image.Image:
    """The scorer's 16 views in reading order, ``size`` pixels each, without gaps.

    Raises:
        BadOption: as ``view``.
    """
    placed = _placed(gaussians, longest_side)
    cameras = scorer_cameras(size)
    rows = -(-len(cameras) // columns)
    sheet = Image.new("RGB", (columns * size, rows * size))
    for index, camera in enumerate(cameras):
        row, column = divmod(index, columns)
        picture = _picture(placed, camera, background)
        sheet.paste(picture, (column * size, row * size))
    return sheet


def rows(
    splats: Sequence[Gaussians],
    size: int = 160,
    views: int = 8,
    azimuth: float = 0.0,
    **look: Any,
) -> Image.Image:
    """A row of views for each splat, turning from ``azimuth``; ``look`` is passed on to ``view``.

    Raises:
        BadOption: as ``view``.
    """
    sheet = Image.new("RGB", (views * size, len(splats) * size))
    for row, splat in enumerate(splats):
        for column in range(views):
            turned = azimuth + 360.0 * column / views
            picture = view(splat, azimuth=turned, size=size, **look)
            sheet.paste(picture, (column * size, row * size))
    return sheet


def turntable(
    gaussians: Gaussians,
    path: Path,
    frames: int = 48,
    size: int = 256,
    longest_side: float | None = SCORER_LONGEST_SIDE,
    background: str = "white",
) -> None:
    """One full turn at the scorer's elevation, as an endless GIF or as MP4 (H.264), by the suffix.

    The file is written in place: who must not leave a partial one gives a temporary path.

    Raises:
        BadOption: another suffix, fewer than 2 frames, an odd size for MP4, or as ``view``.
        OutputError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise BadOption(f"no turntable as {suffix or path.name!r}: give a .gif or .mp4")
    if frames < 2:
        raise BadOption(f"a turntable needs at least 2 frames, not {frames}")
    if suffix == ".mp4" and size % 2:
        raise BadOption(f"the size of an MP4 must be even, not {size}")
    pictures = _turn(_placed(gaussians, longest_side), frames, size, background)
    try:
        if suffix == ".gif":
            _write_gif(pictures, path, frames)
        else:
            _write_mp4(pictures, path, frames, size)
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def to_image(image: Tensor) -> Image.Image:
    """[H,W,3] in [0,1] as an 8-bit RGB picture, rounded to the nearest value."""
    pixels = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(pixels))


def _turn(gaussians: Gaussians, frames: int, size: int, background: str) -> Iterator[Image.Image]:
    for frame in range(frames):
        camera = Camera.orbit(
            360.0 * frame / frames, SCORER_ELEVATION_DEG, SCORER_RADIUS, SCORER_FOV_Y_DEG, size
        )
        yield _picture(gaussians, camera, background)


def _write_gif(pictures: Iterator[Image.Image], path: Path, frames: int) -> None:
    milliseconds = round(1000 * max(TURNTABLE_SECONDS / frames, 2 * _GIF_STEP_SECONDS))
    first, *rest = (picture.quantize(dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures)
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)


def _write_mp4(pictures: Iterator[Image.Image], path: Path, frames: int, size: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        rate = Fraction(frames / TURNTABLE_SECONDS).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def _placed(gaussians: Gaussians, length: float | None) -> Gaussians:
    if length is None:
        return gaussians
    if not 0.0 < length < float("inf"):
        raise BadOption(f"longest side {length} is not a positive number")
    return normalize_longest_side(gaussians, length)


def _picture(gaussians: Gaussians, camera: Camera, background: str) -> Image.Image:
    return to_image(render(gaussians, camera, background)[0])
