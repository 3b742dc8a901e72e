"""Writes ``docs/metrics.md`` and ``docs/settings.md``: ``python -m tools.documents``.

The metrics come from the instruments themselves, the settings from ``config/miner.toml``, whose
comments are what the program's own tests hold against the settings classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from miner.metrics import Metrics
from tools.documents.settings_file import Key, keys

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "config" / "miner.toml"
METRICS_HEAD = """# Metrics

Prometheus scrapes `127.0.0.1:9108/metrics`. Durations are seconds, sizes bytes, ratios 0 to 1. A
label takes a bounded number of values and then "other"; prompts, job ids and addresses are never
labels. A histogram has the series `_bucket`, `_sum` and `_count`. The `process_*` of the daemon's
own process come beside these. What to do when one is wrong: [the runbook of the
alerts](../config/prometheus/RUNBOOK.md).

This table is made by `python -m tools.documents`.

| metric | type | labels | meaning |
|---|---|---|---|
"""
SETTINGS_HEAD = """# Settings

Every key of the settings file with its default. The file itself,
[config/miner.toml](../config/miner.toml), says the same; this table is made from it by
`python -m tools.documents`. The default of a key in brackets depends on the machine. In the
environment a key is `MINER_<SECTION>__<KEY>`; the keys of a preset are in the README.
"""


def files() -> Mapping[Path, str]:
    """Each file and what belongs into it."""
    return {
        ROOT / "docs" / "metrics.md": METRICS_HEAD + "".join(_metric_rows()),
        ROOT / "docs" / "settings.md": SETTINGS_HEAD + "".join(_settings_tables()),
    }


def _metric_rows() -> Iterator[str]:
    registered = Metrics().registry._collector_to_names
    ours = [one for one in registered if hasattr(one, "_labelnames")]
    for metric in sorted(ours, key=lambda one: str(one._name)):  # type: ignore[attr-defined]
        name, kind = metric._name, metric._type  # type: ignore[attr-defined]
        ending = {"counter": "_total", "info": "_info"}.get(kind, "")
        labels = ", ".join(metric._labelnames)  # type: ignore[attr-defined]
        meaning = _cell(metric._documentation)  # type: ignore[attr-defined]
        yield f"| `{name}{ending}` | {kind} | {labels} | {meaning} |\n"


def _settings_tables() -> Iterator[str]:
    section = None
    for key in keys(SETTINGS.read_text(encoding="utf-8")):
        if key.section != section:
            section = key.section
            yield f"\n## {f'[{section}]' if section else 'At the top'}\n\n"
            if key.about:
                yield f"{_sentence(key.about)}\n\n"
            yield "| key | default | meaning |\n|---|---|---|\n"
        yield _row(key)


def _row(key: Key) -> str:
    name = f"(`{key.name}`)" if key.optional else f"`{key.name}`"
    return f"| {name} | `{key.default}` | {_cell(key.meaning)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").strip()


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{_cell(text[1:])}".rstrip(".") + "."


def main() -> None:
    """Writes them."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
