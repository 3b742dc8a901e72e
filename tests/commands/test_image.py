"""``miner image``: a prompt becomes a PNG of the aspect asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from miner.cli import main


@pytest.mark.parametrize(("aspect", "size"), [("1:1", (64, 64)), ("16:9", (80, 48))])
def test_the_first_stage_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], aspect: str, size: tuple[int, int]
) -> None:
    """The embedded painter's picture lies in the file, and one line says so."""
    path = tmp_path / "out" / "x.png"
    assert main(["image", "a red cube", "-o", str(path), "--aspect", aspect]) == 0

    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", size)
    assert f"wrote {path}: {size[0]} x {size[1]} px" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a cube", "-o", "x.jpg"], "must end in .png"),
        (["a cube", "-o", "x.png", "--aspect", "7:5"], "unknown aspect '7:5'"),
        ([" ", "-o", "x.png"], "empty"),
    ],
)
def test_mistakes_cost_no_loading(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is one line and status 2."""
    assert main(["image", *words]) == 2
    assert told in capsys.readouterr().err
