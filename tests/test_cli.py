"""The command line as a user meets it: results, one clear line for each mistake, no debris."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miner import encoder
from miner.cli import main
from miner.geometry.gaussians import from_activated
from tests.pipeline.tiny import write_preset

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny models, as an argument of the command line."""
    return str(write_preset(tmp_path_factory.mktemp("tiny"), steps=1))


@pytest.fixture
def splat(tmp_path: Path) -> Path:
    """A PLY file of a few coloured balls."""
    rng = np.random.default_rng(0)
    quats = np.tile(np.float32([1, 0, 0, 0]), (50, 1))
    gaussians = from_activated(
        rng.uniform(-0.5, 0.5, (50, 3)).astype(np.float32),
        np.full((50, 3), 0.05, np.float32),
        quats,
        np.full(50, 0.9, np.float32),
        rng.uniform(0, 1, (50, 3)).astype(np.float32),
    )
    path = tmp_path / "splat.ply"
    path.write_bytes(encoder.encode(gaussians, "ply"))
    return path


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture file."""
    with Image.open(path) as picture:
        return picture.size


def test_several_prompts_fill_a_folder(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prompt becomes a readable file named after it, told on stdout, timed on stderr."""
    status = main(["generate", "a cube", "a tree", "-o", f"{tmp_path}/out/", "--preset", preset])
    out, err = capsys.readouterr()

    assert status == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a-cube.ply", "a-tree.ply"]
    assert len(encoder.load(tmp_path / "out" / "a-cube.ply")) == 7000
    assert out.count("wrote") == 2
    assert "text_to_image" in err
    assert "together" in err


def test_a_report_is_one_json_object_for_each_result(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --report json stdout holds nothing but JSON lines, with times and the fidelity."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n  a red mug \r\n\n", encoding="utf-8")
    options = ["--prompts", str(prompts), "--format", "spz", "--report", "json", "--preset", preset]
    status = main(["generate", "-o", str(tmp_path), *options])
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert status == 0
    assert [report["prompt"] for report in reports] == ["a red mug"]
    assert all(Path(report["output"]).stat().st_size == report["bytes"] for report in reports)
    assert all(report["fidelity"]["psnr_db"] for report in reports)
    assert all("reconstruct" in report["seconds"] for report in reports)


def test_a_picture_becomes_a_splat(preset: str, tmp_path: Path) -> None:
    """With --image the first stage is skipped, and --gaussians is obeyed."""
    Image.new("RGB", (80, 60), "navy").save(tmp_path / "thing.png")
    target = tmp_path / "x.ply"
    options = ["--image", str(tmp_path / "thing.png"), "--gaussians", "7500", "--preset", preset]

    assert main(["generate", "-o", str(target), *options]) == 0
    assert len(encoder.load(target)) == 7500


def test_one_failure_among_several_leaves_the_others(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result that cannot be written is told, the rest is made, and the status is not zero."""
    (tmp_path / "a-cube.ply").mkdir()
    status = main(["generate", "a cube", "a tree", "-o", f"{tmp_path}/", "--preset", preset])
    err = capsys.readouterr().err

    assert status == 73
    assert (tmp_path / "a-tree.ply").is_file()
    assert "failed: a cube: cannot write" in err
    assert "1 of 2 failed" in err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["generate", "-o", "{tmp}/x.ply"], 2, "nothing to make"),
        (["generate", "", "-o", "{tmp}/x.ply"], 2, "empty"),
        (["generate", "  ", "-o", "{tmp}/x.ply"], 2, "empty"),
        (["generate", "x" * 1025, "-o", "{tmp}/x.ply"], 2, "1025 characters"),
        (["generate", "a\x1bb", "-o", "{tmp}/x.ply"], 2, "control character"),
        (["generate", "a\udc80", "-o", "{tmp}/x.ply"], 2, "UTF-8"),
        (["generate", "a", "-o", "{tmp}/x.obj"], 2, ".obj"),
        (["generate", "a", "-o", "{tmp}/x.ply", "--format", "glb"], 2, "glb"),
        (["generate", "a", "-o", "{tmp}/x.ply", "--preset", "nope"], 78, "nope"),
        (["generate", "a", "-o", "{tmp}/x.ply", "--report", "xml"], 2, "xml"),
        (["generate", "a", "-o", "{tmp}/x.ply", "--gaussians", "5"], 2, "--gaussians"),
        (["generate", "a", "-o", "{tmp}/x.ply", "--seed", "-1"], 2, "--seed"),
        (["generate", "a", "-o", "{tmp}/no/x.ply"], 73, "no"),
        (["generate", "a", "b", "-o", "{tmp}/x.ply"], 2, "folder"),
        (["generate", "a"], 2, "output"),
        (["generate", "--image", "{tmp}/no.png", "-o", "{tmp}/x.ply"], 2, "no.png"),
        (["generate", "a", "--image", "{tmp}/no.png", "-o", "{tmp}/x.ply"], 2, "not both"),
        (["generate", "--prompts", "{tmp}/no.txt", "-o", "{tmp}/x.ply"], 2, "no.txt"),
        (["generate", "--prompts", "{tmp}/latin.txt", "-o", "{tmp}/x.ply"], 2, "not UTF-8"),
        (["generate", "--image", "{tmp}/latin.txt", "-o", "{tmp}/x.ply"], 2, "not a picture"),
        (["convert", "{tmp}/no.ply", "{tmp}/x.spz"], 2, "no.ply"),
        (["convert", "{tmp}/latin.txt", "{tmp}/x.spz"], 2, "not a splat"),
        (["render", "{tmp}/no.ply", "-o", "{tmp}/x.png"], 2, "no.ply"),
        (["render", "{tmp}/no.ply"], 2, "nothing to write"),
        (["render", "{tmp}/no.ply", "-o", "{tmp}/x.txt"], 2, "x.txt"),
        (["fetch", "--preset", "nope"], 78, "nope"),
        (["bench", "--synthetic", "nope"], 2, "nope"),
        (["nonsense"], 2, "nonsense"),
        (["--nonsense"], 2, "nonsense"),
    ],
)
def test_every_mistake_is_one_clear_line(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bad input gives one line that says what is wrong, a status of its own, and no file."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    given = main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    out, err = capsys.readouterr()

    assert given == status
    assert err.count("\n") == 1
    assert err.startswith("miner: ")
    assert words in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["latin.txt"]


def test_damaged_weights_are_named_and_leave_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truncated weight file is one line, not a traceback."""
    preset = write_preset(tmp_path / "models", steps=1)
    ckpt = tmp_path / "models" / "triposr" / "model.ckpt"
    ckpt.write_bytes(ckpt.read_bytes()[:5000])
    status = main(["generate", "a", "-o", f"{tmp_path}/x.ply", "--preset", str(preset)])
    err = capsys.readouterr().err

    assert status == 78
    assert "triposr" in err.splitlines()[-1]
    assert not (tmp_path / "x.ply").exists()


def test_render_draws_a_sheet_a_view_and_rows(splat: Path, tmp_path: Path) -> None:
    """Without a camera 16 views, with one a single view, and a row for each of several files."""
    sheet, view, rows = (tmp_path / name for name in ("sheet.png", "view.png", "rows.png"))

    assert main(["render", str(splat), "-o", str(sheet), "--size", "32"]) == 0
    assert main(["render", str(splat), "-o", str(view), "--azimuth", "45", "--size", "64"]) == 0
    assert main(["render", str(splat), str(splat), "-o", str(rows), "--size", "16"]) == 0
    assert size_of(sheet) == (128, 128)
    assert size_of(view) == (64, 64)
    assert size_of(rows) == (128, 32)


def test_render_turns_the_splat(splat: Path, tmp_path: Path) -> None:
    """A turntable is an animated picture."""
    path = tmp_path / "turn.gif"

    assert main(["render", str(splat), "--turntable", str(path), "--size", "16"]) == 0
    with Image.open(path) as turn:
        assert getattr(turn, "n_frames", 1) > 8


def test_convert_goes_there_and_back(
    splat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A PLY becomes an SPZ and a PLY again, with as many Gaussians."""
    spz, back = tmp_path / "x.spz", tmp_path / "back.ply"

    assert main(["convert", str(splat), str(spz), "--spz", "v3"]) == 0
    assert main(["convert", str(spz), str(back)]) == 0
    assert len(encoder.load(back)) == 50
    assert "50 Gaussians" in capsys.readouterr().out


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, splat: Path) -> None:
    """Control-C ends with the status shells expect and without a traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "load", interrupted)
    assert main(["render", str(splat), "-o", "x.png"]) == 130


def test_a_closed_pipe_is_quiet(splat: Path, tmp_path: Path) -> None:
    """When the reader of stdout is gone there is no traceback."""
    arguments = ["convert", str(splat), "x.spz"]
    script = f"import sys; from miner.cli import main; sys.exit(main({arguments!r}))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    os.close(writing)

    assert b"Traceback" not in done.stderr


def test_help_is_light() -> None:
    """Asking for help loads neither torch nor diffusers, rembg or numba."""
    script = (
        "import sys; from miner.cli import main; main(['--help'])\n"
        "print(sorted({'torch', 'diffusers', 'rembg', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "generate" in done.stdout
    assert io.StringIO(done.stdout).readlines()[-1].strip() == "[]"
