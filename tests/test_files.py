"""Whole files or none, whatever goes wrong."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from miner.errors import OutputError
from miner.files import make_folder, replacing, write_atomic

SMALL_DISK = """
import resource, sys
from miner.errors import OutputError
from miner.files import write_atomic

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomic(sys.argv[1], bytes(1 << 20))
except OutputError as error:
    print(type(error.__cause__).__name__, error)
"""
"""A process none of whose files may grow past 4 KiB, as if the disk were full there. One of its
own: the limit holds for the log of the tests as well."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_holds_the_data_and_nothing_else_is_left(tmp_path: Path) -> None:
    """A successful write leaves one file, readable as the umask says."""
    write_atomic(tmp_path / "a.bin", b"data")

    assert (tmp_path / "a.bin").read_bytes() == b"data"
    assert names(tmp_path) == ["a.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o666 & ~umask


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    """The new contents take the place of the old."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old and longer")

    write_atomic(path, b"new")

    assert path.read_bytes() == b"new"


def test_through_a_link_the_file_is_replaced(tmp_path: Path) -> None:
    """A symbolic link stays one; what it points to gets the contents."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")

    write_atomic(tmp_path / "link", b"new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    """An exception of any kind in the writer leaves the folder as it was."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise KeyError

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.png"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """The system's refusal to write more becomes an OutputError, and the part is removed."""
    command = [sys.executable, "-c", SMALL_DISK, str(tmp_path / "a.bin")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    assert re.fullmatch(r"OSError cannot write .*a\.bin: .+\n", run.stdout)
    assert names(tmp_path) == []


def test_the_partial_file_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    """Writers that choose a format by suffix can; a rename never crosses file systems."""
    with replacing(tmp_path / "turn.gif") as partial:
        assert partial.suffix == ".gif"
        assert partial.parent == tmp_path.resolve()
        assert partial.read_bytes() == b""


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("none/a.bin", "no folder"),
        ("file/a.bin", "no folder"),
        ("folder", "it is a folder"),
        ("pipe", "not a file"),
        ("x" * 300, "too long"),
        ("a\0b", "null"),
    ],
)
def test_unsuitable_places_are_named(tmp_path: Path, target: str, words: str) -> None:
    """A place where no file can be is an OutputError that says why, and nothing is left there."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OutputError, match=words):
        write_atomic(tmp_path / target, b"data")

    assert names(tmp_path) == ["file", "folder", "pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    """A folder that may not be written to is an OutputError."""
    tmp_path.chmod(0o500)

    with pytest.raises(OutputError, match="Permission denied"):
        write_atomic(tmp_path / "a.bin", b"data")


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    """A folder that is there already is no error; a file in its place is."""
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="file"):
        make_folder(tmp_path / "file")
