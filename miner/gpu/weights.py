"""Where weight files lie and whether they are whole; downloading is the business of ``fetch.py``.

A preset names weights by a *reference*: an entry of ``config/models.toml`` and, behind a slash, a
path inside it (``mini/flux``), or an absolute path on this machine. Beside an entry's files lies
``SHA256SUMS``, in the format of ``sha256sum``: shipped with the embedded weights, written by
``miner fetch`` for the others.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from miner.errors import ConfigError, MinerError, WeightsError
from miner.settings import PACKAGE_DIR, config_dir, read_toml

UNPINNED = "unpinned"
SUMS_NAME = "SHA256SUMS"
STAMPS_NAME = ".verified.json"
CHUNK_BYTES = 1 << 20

Sums = dict[str, str]
"""SHA-256 in hexadecimal by path inside the entry, with forward slashes."""

Stamp = tuple[int, int, str]
"""Size in bytes, time of change in ns and SHA-256 of a file that was read whole. The checksum is
part of it, so that a file verified against another sum than today's is read again."""

_log = logging.getLogger(__name__)


class Entry(BaseModel):
    """One entry of the manifest; ``config/models.toml`` explains its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: Literal["hub", "url", "package"]
    licence: str
    commercial: str
    files: tuple[str, ...]
    folder: str = ""
    repository: str = ""
    revision: str = UNPINNED
    url: str = ""
    gated: bool = False
    bytes: int = 0
    include: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    confirmed: str = ""
    sha256: Sums = {}
    md5: dict[str, str] = {}

    def root(self, weights_dir: Path) -> Path:
        """The folder that holds this entry's files."""
        return PACKAGE_DIR / self.folder if self.source == "package" else weights_dir / self.name

    def chosen(self, root: Path) -> tuple[str, ...]:
        """The alternative of ``one_of`` that is in ``root``; the first of them where none is."""
        there = tuple(name for name in self.one_of if (root / name).is_file())
        return there[:1] or self.one_of[:1]

    def mend(self, preset: str) -> str:
        """The command that puts missing or damaged files of this entry right."""
        if self.source == "package":
            return "reinstall the package: pip install --force-reinstall --no-deps splat-miner"
        return f"run: miner fetch --preset {preset}"


def load_manifest(path: Path | None = None) -> dict[str, Entry]:
    """The entries of ``models.toml`` by name.

    Raises:
        ConfigError: the file is missing, is not TOML or has an unknown key; the text names it.
    """
    path = path or config_dir() / "models.toml"
    entries = {}
    for name, values in read_toml(path).items():
        try:
            entries[name] = Entry.model_validate({"name": name, **values})
        except (ValidationError, TypeError) as error:
            first = str(error).replace("\n", " ")
            raise ConfigError(f"{path}: [{name}]: {first}") from error
    return entries


class WeightStore:
    """The weights on this machine, as one preset refers to them.

    Args:
        weights_dir: where ``miner fetch`` puts them.
        preset: name of the preset, for the command in an error's text.
        manifest: entries by name; the shipped ones when not given.
    """

    def __init__(
        self, weights_dir: Path, preset: str, manifest: dict[str, Entry] | None = None
    ) -> None:
        self.weights_dir = weights_dir
        self.preset = preset
        self.manifest = load_manifest() if manifest is None else manifest

    def entry(self, reference: str) -> Entry | None:
        """The manifest entry behind a reference, None for a path on this machine.

        Raises:
            ConfigError: neither of the two.
        """
        if Path(reference).is_absolute():
            return None
        parts = PurePosixPath(reference).parts
        entry = self.manifest.get(parts[0]) if parts else None
        if entry is None or ".." in parts:
            raise ConfigError(
                f"weights {reference!r}: neither an absolute path nor an entry of models.toml"
            )
        return entry

    def find(self, reference: str) -> Path:
        """The file or folder behind a reference, after a check that it is all there and undamaged.

        Raises:
            WeightsError: a file is missing or damaged; the text names it and the mend.
            ConfigError: an unknown reference.
        """
        entry = self.entry(reference)
        if entry is None:
            path = Path(reference)
            if not path.exists():
                raise WeightsError(f"{path}: there is nothing; mend the preset {self.preset}")
            return path
        root = entry.root(self.weights_dir)
        inside = PurePosixPath(*PurePosixPath(reference).parts[1:])
        verify(entry, root, inside, self.preset)
        return root / inside

    @contextlib.contextmanager
    def reading(self, reference: str) -> Iterator[None]:
        """Turns whatever a library raises on a file it cannot read into a WeightsError."""
        try:
            yield
        except (MinerError, MemoryError):
            raise
        except Exception as error:  # loaders raise anything from KeyError to their own types
            if type(error).__name__ == "OutOfMemoryError":
                raise
            entry = self.entry(reference)
            mend = f"; {entry.mend(self.preset)}" if entry else ""
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise WeightsError(f"weights {reference}: cannot be read: {reason}{mend}") from error


def verify(entry: Entry, root: Path, inside: PurePosixPath, preset: str) -> None:
    """Checks the files of ``entry`` that lie at or below ``inside``.

    Files are hashed once and then known by size and time of change, so that a start does not read
    tens of gigabytes; embedded ones are small and hashed every time.

    Raises:
        WeightsError: a file is missing or is not the one recorded.
    """
    sums = {**read_sums(root / SUMS_NAME), **entry.sha256}
    names = sorted({*entry.files, *sums, *entry.chosen(root)})
    stamps = {} if entry.source == "package" else read_stamps(root)
    fresh = dict(stamps)
    for name in (name for name in names if PurePosixPath(name).is_relative_to(inside)):
        path = root / name
        if not path.is_file():
            raise WeightsError(f"{path}: this weight file is missing; {entry.mend(preset)}")
        if name in sums and stamps.get(name) != (*_size_and_time(path), sums[name]):
            fresh[name] = stamp(path)
            if fresh[name][2] != sums[name]:
                raise WeightsError(f"{path}: this weight file is damaged; {entry.mend(preset)}")
    if fresh != stamps and entry.source != "package":
        try:
            write_stamps(root, fresh)
        except OSError:  # a read-only store is hashed at each start instead
            _warn_of_hashing(root.parent, preset)


@functools.cache  # one line a process for all entries of a store
def _warn_of_hashing(weights_dir: Path, preset: str) -> None:
    _log.warning(
        "%s cannot be written, so weight files are read whole at each start to verify them; "
        "run `miner fetch --preset %s` once as the owner of that folder",
        weights_dir,
        preset,
    )


def stamp(path: Path) -> Stamp:
    """Reads a file whole; size and time are taken first, so that a later change shows."""
    size, changed = _size_and_time(path)
    return size, changed, hash_file(path)


def _size_and_time(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Checksum of a file in hexadecimal, read in pieces."""
    digest = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def read_sums(path: Path) -> Sums:
    """The checksums recorded in a file as ``sha256sum`` writes it; empty where there is none.

    Raises:
        WeightsError: the file is there and is not of that format.
    """
    if not path.is_file():
        return {}
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or ".." in PurePosixPath(name).parts:
            raise WeightsError(f"{path}: not a list of SHA-256 sums; delete it and fetch again")
        sums[name.removeprefix("./")] = digest.lower()
    return sums


def write_sums(path: Path, sums: Sums) -> None:
    """Writes checksums as ``sha256sum`` does, sorted by name."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    path.write_text("".join(lines), encoding="utf-8")


def read_stamps(root: Path) -> dict[str, Stamp]:
    """The stamps of an entry's folder; none where there is no record or it cannot be read."""
    try:
        stamps = json.loads((root / STAMPS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stamps, dict):
        return {}
    return {name: tuple(values) for name, values in stamps.items() if isinstance(values, list)}


def write_stamps(root: Path, stamps: dict[str, Stamp]) -> None:
    """Writes the stamps of an entry's folder.

    Raises:
        OSError: the folder cannot be written.
    """
    (root / STAMPS_NAME).write_text(json.dumps(stamps), encoding="utf-8")
