"""Where results go: names from prompts, formats from suffixes, checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from miner import encoder
from miner.errors import BadOption, OutputError

MAX_SLUG_BYTES = 80
"""File systems allow 255; short names can be read in a listing."""


def plan_outputs(output: str, titles: Sequence[str], format: str | None) -> list[tuple[Path, str]]:
    """One path and format for each result.

    Args:
        output: as the user wrote it: a folder if it ends in a slash or is one, else a file.
        titles: what each result is, for its name in a folder.
        format: "ply" or "spz"; by the suffix, or PLY in a folder, when not given.

    Raises:
        BadOption: several results and one file, an unknown format or suffix, or the two disagree.
        OutputError: the folder cannot be written to.
    """
    if format is not None and format not in encoder.formats:
        raise BadOption(f"unknown format {format!r}; there are: {', '.join(encoder.formats)}")
    path = Path(output)
    if output.endswith(("/", os.sep)) or path.is_dir():
        _check_writable(path)
        suffix = format or "ply"
        return [(path / f"{name}.{suffix}", suffix) for name in file_names(titles)]
    if len(titles) != 1:
        raise BadOption(f"{len(titles)} results need a folder: end -o in a slash, as in {output}/")
    wanted = format or encoder.format_of(path)
    if path.suffix.lower().removeprefix(".") in set(encoder.formats) - {wanted}:
        raise BadOption(f"{output} ends in {path.suffix}, and the format is {wanted}")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {output}: there is no folder {path.parent}")
    _check_writable(path.parent)
    return [(path, wanted)]


def file_names(titles: Sequence[str]) -> list[str]:
    """A file name without suffix for each title, all different whatever the case of letters."""
    names: list[str] = []
    taken: set[str] = set()
    for title in titles:
        slug = slugify(title)
        name, number = slug, 1
        while name.casefold() in taken:
            number += 1
            name = f"{slug}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def slugify(title: str) -> str:
    """Letters and digits of any script in lower case, with hyphens for all else."""
    words = "".join(c if c.isalnum() else " " for c in title.lower()).split()
    slug = "-".join(words).encode()[:MAX_SLUG_BYTES].decode(errors="ignore").strip("-")
    return slug or "splat"


def _check_writable(folder: Path) -> None:
    """Finds out before minutes of work, not after; writing itself checks again."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to {folder}: {existing} is not a writable folder")
