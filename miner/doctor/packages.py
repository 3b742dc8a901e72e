"""Python and the packages that this program was written against."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, together, warn
from miner.errors import ConfigError
from miner.settings import PACKAGE_DIR

DISTRIBUTION = "splat-miner"
LEAST_PYTHON = (3, 11)
MEND = "in the program's folder: .venv/bin/python -m pip install -e ."

INSTEAD = {"onnxruntime": "onnxruntime-gpu"}
"""Distributions that bring the same module as another, and more."""

VersionOf = Callable[[str], str]
"""Of an installed distribution; raises ``PackageNotFoundError``."""


async def look_at_packages(case: Case) -> Finding:
    """Whether they are there, and of versions that the project names."""
    found = ".".join(map(str, case.host.python))
    if case.host.python < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return fail(f"Python {found} is older than {least}", "", "use a newer one", ConfigError)
    wanted = _requirements()
    if wanted is None:
        return skip(f"Python {found}", f"{DISTRIBUTION} is not installed and has no pyproject.toml")
    faults = list(faults_of(wanted))
    return together(faults) if faults else ok(f"Python {found}, {len(wanted)} packages as wanted")


def faults_of(wanted: Sequence[str], version_of: VersionOf = metadata.version) -> Iterator[Finding]:
    """What is missing, which a start cannot do without, and what is of another version.

    Args:
        wanted: requirements as packaging tools write them; those of extras are passed over.
        version_of: the installed version.
    """
    try:
        from packaging.requirements import Requirement  # noqa: PLC0415 - may be missing itself
    except ImportError:
        yield fail("the package packaging is missing", "", MEND, ConfigError)
        return
    for text in wanted:
        one = Requirement(text)
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        version = _version(one.name, version_of) or _version(INSTEAD.get(one.name), version_of)
        if version is None:
            yield fail(f"{one.name} is missing", "it is imported", MEND, ConfigError)
            continue
        if not one.specifier.contains(version, prereleases=True):
            line = f"{one.name} is {version}, wanted {one.specifier}"
            yield warn(one_line(line), "other versions were not tried", MEND)


def _version(name: str | None, version_of: VersionOf) -> str | None:
    if name is None:
        return None
    try:
        return version_of(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[str] | None:
    """Of the checkout this runs from, or else of the installed program."""
    file = PACKAGE_DIR.parent / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return [str(text) for text in project["dependencies"]]
    try:
        return metadata.requires(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
