"""``miner render``: pictures of splat files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miner import encoder, files
from miner.commands.console import result
from miner.errors import BadOption

if TYPE_CHECKING:
    from PIL import Image

    from miner.geometry.gaussians import Gaussians

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def render(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="PLY or SPZ files.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The picture to write.")
    ] = None,
    turntable: Annotated[
        Path | None, typer.Option(help="Write one full turn, as .gif or .mp4.")
    ] = None,
    azimuth: Annotated[
        float | None, typer.Option(help="One view: degrees around, 0 looks at the front.")
    ] = None,
    elevation: Annotated[
        float | None, typer.Option(help="One view: degrees up, -90 to 90.")
    ] = None,
    radius: Annotated[
        float | None, typer.Option(help="One view: distance from the middle.")
    ] = None,
    fov: Annotated[float | None, typer.Option(help="One view: degrees from top to bottom.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side, of each view.")] = None,
    longest_side: Annotated[
        float | None, typer.Option(help="Scale the splat to this length; 0 leaves it as it is.")
    ] = None,
    background: Annotated[str, typer.Option(help="A colour's name, or #rrggbb.")] = "white",
) -> None:
    """Draw a splat: 16 views on a sheet, one view where a camera is given, or a turntable.

    Several files share one sheet, a row each.
    """
    if output is None and turntable is None:
        raise BadOption("nothing to write: give -o PICTURE, or --turntable FILE")
    if output is not None and output.suffix.lower() not in PICTURE_SUFFIXES:
        raise BadOption(f"{output}: a picture ends in {', '.join(PICTURE_SUFFIXES)}")
    splats = [encoder.load(path) for path in sources]
    camera = _given(azimuth=azimuth, elevation=elevation, radius=radius, fov=fov)
    look = _given(size=size, background=background)
    if longest_side is not None:
        look["longest_side"] = longest_side or None
    if output is not None:
        picture = _picture(splats, camera, look)
        with files.replacing(output) as partial:
            picture.save(partial)
        result(f"wrote {output}: {picture.width} x {picture.height} px")
    if turntable is not None:
        _write_turntable(splats, turntable, look)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _picture(splats: list[Gaussians], camera: dict[str, Any], look: dict[str, Any]) -> Image.Image:
    from miner.rendering import sheets

    if len(splats) == 1:
        draw = sheets.view if camera else sheets.contact_sheet
        return draw(splats[0], **camera, **look)
    return sheets.rows(splats, **camera, **look)


def _write_turntable(splats: list[Gaussians], path: Path, look: dict[str, Any]) -> None:
    from miner.rendering import sheets

    if len(splats) != 1:
        raise BadOption("a turntable shows one file")
    with files.replacing(path) as partial:
        sheets.turntable(splats[0], partial, **look)
    result(f"wrote {path}")
