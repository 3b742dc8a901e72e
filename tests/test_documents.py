"""What the documents say is so: tables in step, links that lead somewhere, names that exist."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from miner.cli import app
from miner.metrics import Metrics
from miner.settings.daemon import DaemonSettings
from miner.settings.identity import SHARED, IdentitySettings
from tools.documents.__main__ import SETTINGS, files
from tools.documents.settings_file import keys

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "config").rglob("*.md"),
        *(ROOT / "systemd").glob("*.md"),
    ]
)
LINK = re.compile(r"\[[^]]*\]\((?P<to>[^)\s]+)\)")
METRIC = re.compile(r"`(?P<name>miner_[a-z_]+)`")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_tables_are_in_step_with_the_program() -> None:
    """Settings and metrics in ``docs/`` are what ``python -m tools.documents`` writes."""
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: python -m tools.documents"


def test_every_setting_has_its_row() -> None:
    """No key of the settings classes is missing in the table."""
    listed = {(key.section, key.name) for key in keys(SETTINGS.read_text(encoding="utf-8"))}
    wanted = set()
    for name, field in DaemonSettings.model_fields.items():
        section = getattr(field.annotation, "model_fields", None)
        if name == "identity":
            wanted |= {("[identity]", key) for key in {*IdentitySettings.model_fields} - {*SHARED}}
            continue
        wanted |= {("", name)} if section is None else {(name, key) for key in section}

    assert wanted <= listed, wanted - listed


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project names one that is there."""
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target = match["to"].split("#")[0]
        if target and "://" not in target:
            assert (page.parent / target).exists(), match["to"]


@each_page
def test_links_within_a_page_lead_to_a_heading(page: Path) -> None:
    """An anchor is one that the page's own headings make."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in headings}
    for match in LINK.finditer(text):
        path, _, anchor = match["to"].partition("#")
        if anchor and not path:
            assert anchor in made, anchor


@each_page
def test_metrics_that_are_named_exist(page: Path) -> None:
    """A metric in a document is one of the daemon's, or begins as some do."""
    names = set(Metrics().registry._names_to_collectors)
    for match in METRIC.finditer(page.read_text(encoding="utf-8")):
        name = match["name"]
        assert any(one == name or (name.endswith("_") and one.startswith(name)) for one in names), (
            name
        )


def test_the_readme_names_every_command() -> None:
    """Whoever reads it has met each command once."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [one.name or one.callback.__name__ for one in app.registered_commands]  # type: ignore[union-attr]
    groups = [one.name for one in app.registered_groups]

    for name in (*commands, *groups):
        command = str(name).replace("_", "-")
        assert f"miner {command}" in text, command


def section(title: str) -> str:
    """The text of one section of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_readme_has_the_defaults_of_the_settings() -> None:
    """Each key of its short table is there, with the default that the file has."""
    known = {
        f"{key.section}.{key.name}".lstrip("."): key.default
        for key in keys(SETTINGS.read_text(encoding="utf-8"))
    }
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]*)` \|", section("Settings"), re.MULTILINE)

    assert len(rows) >= 15
    for key, default in rows:
        assert known[key] == default, key


def test_the_readme_names_every_metric_or_its_family() -> None:
    """Each instrument of the daemon is one of the README's table, and each of those is one."""
    table = [line for line in section("Metrics").splitlines() if line.startswith("| `")]
    patterns = re.findall(r"`([a-z_*]+)`", "".join(line.split(" | ")[0] for line in table))
    metrics = Metrics().registry._names_to_collectors
    names = {str(one.removeprefix("miner_")) for one in metrics if one.startswith("miner_")}
    for pattern in patterns:
        assert any(fnmatchcase(name, pattern) for name in names), pattern
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `miner_([a-z_]+)` \|", page, re.MULTILINE)
    missing = {name for name in listed if not any(fnmatchcase(name, p) for p in patterns)}

    assert not missing
