"""The registry of formats: by name, by suffix, by first bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner import encoder
from miner.encoder.convert import convert
from miner.errors import BadAsset, BadOption, MinerError, OutputError
from miner.geometry.gaussians import Gaussians
from tests.encoder.splats import assert_same, plausible


@pytest.mark.parametrize("variant", encoder.SPZ_VARIANTS)
@pytest.mark.parametrize("name", encoder.formats)
def test_every_format_is_recognised_by_its_first_bytes(name: str, variant: str) -> None:
    """What any encoder writes, ``decode`` reads without being told what it is."""
    assert len(encoder.decode(encoder.encode(plausible(7), name, spz_variant=variant))) == 7


@pytest.mark.parametrize("name", encoder.formats)
def test_memory_layout_does_not_matter(name: str) -> None:
    """Arrays that lie column by column in memory, or apart, give the same file."""
    splat = plausible(20, degree=2)
    names = ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")
    columns = [np.asfortranarray(getattr(splat, n)) for n in names]
    apart = [np.repeat(getattr(splat, n), 2, axis=0)[::2] for n in names]

    data = encoder.encode(splat, name)

    assert encoder.encode(Gaussians(*columns), name) == data
    assert encoder.encode(Gaussians(*apart), name) == data


def test_unknown_format_is_named() -> None:
    """The error lists what can be chosen."""
    with pytest.raises(BadOption, match=r"'glb'.*ply, spz"):
        encoder.encode(plausible(1), "glb")


@given(st.binary(max_size=200))
def test_any_bytes_give_bad_asset(data: bytes) -> None:
    """No bytes make ``decode`` raise anything but BadAsset."""
    with pytest.raises(BadAsset):
        encoder.decode(data)


@pytest.mark.parametrize(("path", "name"), [("a.ply", "ply"), ("b/C.SPZ", "spz")])
def test_suffix_chooses_the_format(path: str, name: str) -> None:
    """Upper or lower case, the suffix of a path is its format."""
    assert encoder.format_of(path) == name


@pytest.mark.parametrize("path", ["a", "a.glb", ".ply", ""])
def test_other_suffixes_are_refused(path: str) -> None:
    """A path that does not say its format is an error that says which can be chosen."""
    with pytest.raises(BadOption, match=r"\.ply or \.spz"):
        encoder.format_of(path)


def test_load_goes_by_contents_not_by_suffix(tmp_path: Path) -> None:
    """A PLY called .spz is still read."""
    path, splat = tmp_path / "a.spz", plausible(3)
    path.write_bytes(encoder.encode(splat, "ply"))

    assert_same(encoder.load(path), splat)


def test_load_names_the_file(tmp_path: Path) -> None:
    """Missing, unreadable, empty and damaged files are errors that begin with the path."""
    empty, damaged = tmp_path / "empty.ply", tmp_path / "damaged.ply"
    empty.touch()
    damaged.write_bytes(b"ply\n")
    for path in (tmp_path / "none.ply", tmp_path, empty, damaged, Path("/dev/zero")):
        with pytest.raises(BadAsset) as caught:
            encoder.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_huge_files_are_not_read(tmp_path: Path) -> None:
    """A file over the limit is refused by its size alone (here a hole without contents)."""
    path = tmp_path / "huge.ply"
    with path.open("wb") as file:
        file.truncate(encoder.MAX_FILE_BYTES + 1)

    with pytest.raises(BadAsset, match="limit"):
        encoder.load(path)


@pytest.mark.parametrize("variant", encoder.SPZ_VARIANTS)
def test_convert_there_and_back(tmp_path: Path, variant: str) -> None:
    """A PLY through SPZ is the splat that the SPZ holds, and the figures are those of the files."""
    ply, spz, back = (tmp_path / name for name in ("a.ply", "b.spz", "c.ply"))
    splat = plausible(9, degree=1)
    ply.write_bytes(encoder.encode(splat, "ply"))

    done = convert(ply, spz, variant)
    convert(spz, back)

    assert spz.read_bytes() == encoder.encode(splat, "spz", spz_variant=variant)
    assert done == (9, 1, ply.stat().st_size, spz.stat().st_size)
    assert_same(encoder.load(back), encoder.load(spz))


def test_convert_in_place(tmp_path: Path) -> None:
    """The output may be the input: here one SPZ variant becomes another."""
    path = tmp_path / "a.spz"
    path.write_bytes(encoder.encode(plausible(9), "spz", spz_variant="v3"))

    done = convert(path, path, "subnet")

    assert path.read_bytes().startswith(b"\x28\xb5\x2f\xfd")
    assert done.bytes_out == path.stat().st_size


@pytest.mark.parametrize(
    ("source", "target", "variant", "error"),
    [
        ("none.ply", "b.spz", "subnet", BadAsset),
        ("bad.ply", "b.spz", "subnet", BadAsset),
        ("a.ply", "b.glb", "subnet", BadOption),
        ("a.ply", "b.spz", "v9", BadOption),
        ("a.ply", "none/b.spz", "subnet", OutputError),
    ],
)
def test_failed_conversion_leaves_nothing(
    tmp_path: Path, source: str, target: str, variant: str, error: type[MinerError]
) -> None:
    """Whatever goes wrong, no output and no partial file is there afterwards."""
    (tmp_path / "a.ply").write_bytes(encoder.encode(plausible(2), "ply"))
    (tmp_path / "bad.ply").write_bytes(b"ply\nrubbish")

    with pytest.raises(error):
        convert(tmp_path / source, tmp_path / target, variant)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply", "bad.ply"]


def test_codecs_import_without_torch() -> None:
    """A process that only moves splats about does not pay for torch."""
    code = (
        "import sys, miner.encoder.convert, miner.pipeline.quality; print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
