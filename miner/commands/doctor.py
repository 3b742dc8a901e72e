"""``miner doctor``: what is right and what is wrong with this machine and its settings."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from miner.commands.console import Reporter, result
from miner.doctor.finding import Finding, Status, exit_status, of_error
from miner.errors import ConfigError
from miner.settings import load_settings

COLOURS: dict[Status, str] = {"ok": "green", "skip": "dim", "warn": "yellow", "fail": "bold red"}
WIDTH = 160
"""Of the table where there is no terminal to fit."""


def doctor(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings; see config/miner.toml.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Models to look for.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also hash every weight file and every kept result.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> int:
    """Check machine, models, disk, ports, keys, chain and service; change nothing.

    The exit status is 0 where nothing failed, 78 where a failure stops the daemon's start, else 1.
    """
    findings = _findings(config, preset, device, deep)
    status = exit_status(findings)
    if as_json:
        found = [finding.as_json() for finding in findings]
        result(json.dumps({"exit_status": status, "findings": found}, indent=2))
    else:
        _show(findings)
    return status


def _findings(
    config: Path | None, preset: str | None, device: str | None, deep: bool
) -> Sequence[Finding]:
    try:
        settings = load_settings(preset, {"device": device}, config=config)
    except ConfigError as error:
        return [of_error(error).named("settings")]
    from miner.doctor.case import Case
    from miner.doctor.examine import CHECKS, examine

    reporter, left = Reporter(), {check.name for check in CHECKS}

    def seen(finding: Finding) -> None:
        left.discard(finding.name)
        reporter.progress(", ".join(sorted(left)), 1, 1)

    with reporter.task("looking"):
        return asyncio.run(examine(Case(settings, deep=deep), seen=seen))


def _show(findings: Sequence[Finding]) -> None:
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=WIDTH)
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for finding in findings:
        colour = COLOURS[finding.status]
        table.add_row(Text(finding.status, colour), Text(finding.name), _told(finding, colour))
    console.print(table)
    console.print(Text(_verdict(findings)))


def _told(finding: Finding, colour: str) -> Text:
    """The line, and under it why and what to do."""
    text = Text()  # its own style would colour what follows as well
    text.append(finding.line, colour if finding.status in ("warn", "fail") else "")
    if finding.reason:
        text.append(f"\n{finding.reason}", "dim")
    if finding.mend:
        text.append("\nmend: ", "dim").append(finding.mend)
    return text


def _verdict(findings: Sequence[Finding]) -> str:
    counts = {s: sum(one.status == s for one in findings) for s in ("ok", "warn", "fail", "skip")}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    stops = any(finding.stops is not None for finding in findings)
    return f"{told}: the daemon would not start" if stops else told
