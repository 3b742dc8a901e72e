"""Names and formats of results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.commands.outputs import MAX_SLUG_BYTES, file_names, plan_outputs, slugify
from miner.errors import BadOption, OutputError


def test_one_result_goes_to_the_file_that_was_named(tmp_path: Path) -> None:
    """The suffix chooses the format, and --format where there is no known suffix."""
    assert plan_outputs(f"{tmp_path}/x.PLY", ["x"], None) == [(tmp_path / "x.PLY", "ply")]
    assert plan_outputs(f"{tmp_path}/x.spz", ["x"], "spz") == [(tmp_path / "x.spz", "spz")]
    assert plan_outputs(f"{tmp_path}/x", ["x"], "spz") == [(tmp_path / "x", "spz")]


def test_results_in_a_folder_are_named_after_what_they_are(tmp_path: Path) -> None:
    """A folder that is there, or is to be made, takes any number of results."""
    there = plan_outputs(str(tmp_path), ["A red cube!"], "spz")
    to_make = plan_outputs(f"{tmp_path}/a/b/", ["a cube", "a cube", "A  Cube"], None)

    assert there == [(tmp_path / "a-red-cube.spz", "spz")]
    assert [path.name for path, _ in to_make] == ["a-cube.ply", "a-cube-2.ply", "a-cube-3.ply"]


@pytest.mark.parametrize(
    ("output", "titles", "format"),
    [
        ("x.obj", ["a"], None),
        ("x", ["a"], None),
        ("x.ply", ["a", "b"], None),
        ("x.ply", ["a"], "spz"),
        ("x.ply", ["a"], "glb"),
        ("out/", ["a"], "PLY"),
    ],
)
def test_what_does_not_fit_is_refused(
    output: str, titles: list[str], format: str | None, tmp_path: Path
) -> None:
    """Unknown and contradicting formats, and several results for one file, are refused."""
    with pytest.raises(BadOption):
        plan_outputs(f"{tmp_path}/{output}", titles, format)


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    """A missing parent of a file and a file in the place of a folder are seen beforehand."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        plan_outputs(f"{tmp_path}/file/x.ply", ["x"], None)
    with pytest.raises(OutputError, match="file"):
        plan_outputs(f"{tmp_path}/file/", ["x"], None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    """Permissions are looked at before any work."""
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError):
        plan_outputs(f"{tmp_path}/x.ply", ["x"], None)


@given(st.text())
def test_every_title_has_a_name(title: str) -> None:
    """Any text gives a short name without separators, leading dots or hyphens."""
    slug = slugify(title)

    assert slug
    assert len(slug.encode("utf-8", "surrogatepass")) <= MAX_SLUG_BYTES
    assert not set(slug) & set("/\\. \0")
    assert not slug.startswith("-")


@given(st.lists(st.text(max_size=5), max_size=20))
def test_names_differ_whatever_the_case(titles: list[str]) -> None:
    """No two results share a file, on file systems that ignore case either."""
    names = file_names(titles)

    assert len({name.casefold() for name in names}) == len(titles)
