"""``miner journal``: looks a daemon's journal through, and moves it between machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from miner.commands.console import Reporter, result
from miner.errors import JournalError

journal = typer.Typer(
    name="journal",
    help="Check, export and import what the daemon remembers.",
    no_args_is_help=True,
)

StateDir = Annotated[
    Path | None,
    typer.Option(help="The folder of the journal; the configured one when not given."),
]


@journal.command()
def check(state_dir: StateDir = None) -> None:
    """Look through the journal and every result in it; changes nothing, also beside a daemon."""
    from miner.journal.check import check_journal

    folder = _folder(state_dir)
    with Reporter().task(f"looking through {folder}"):
        report = check_journal(folder, time.time())
    states = ", ".join(f"{count:,} {state}" for state, count in report.jobs.items())
    result(f"jobs: {sum(report.jobs.values()):,} ({states}; {report.overdue:,} overdue)")
    result(f"results: {report.results:,} of {report.result_bytes:,} bytes in all")
    result(f"nonces: {report.nonces:,}, facts: {report.facts:,}, events: {report.events:,}")
    for fault in report.faults:
        result(f"fault: {fault}")
    if report.faults:
        raise JournalError(f"the journal in {folder} has {len(report.faults)} faults")
    result("no faults")


@journal.command("export")
def export_(
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="Ends in .jsonl, .jsonl.gz or .jsonl.zst.")
    ],
    state_dir: StateDir = None,
) -> None:
    """Write everything to one file of JSON lines; also beside a daemon."""
    from miner.journal.transfer import export_journal

    folder = _folder(state_dir)
    with Reporter().task(f"exporting {folder}"):
        counts = export_journal(folder, target)
    result(f"wrote {target}: {_told(counts)}")


@journal.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Made by export.")],
    state_dir: StateDir = None,
) -> None:
    """Read an exported file in: all of it or nothing. The daemon must not run.

    The daemon that the file came from must not go on either, or both do what is in it.
    """
    from miner.journal.transfer import import_journal

    folder = _folder(state_dir)
    with Reporter().task(f"importing {source}"):
        added, known = import_journal(folder, source)
    result(f"added to {folder}: {_told(added)}")
    result(f"there already: {_told(known)}")


def _folder(state_dir: Path | None) -> Path:
    from miner.settings import load_settings

    return state_dir or load_settings().daemon.state_dir


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {table}" for table, count in counts.items())
