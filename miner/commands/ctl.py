"""``miner ctl``: asks the running daemon of this host, or tells it something."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from miner.commands.console import result
from miner.commands.identity_table import lines, several
from miner.network.control_client import ask
from miner.settings import load

ctl = typer.Typer(help="Ask or tell a running daemon.", no_args_is_help=True)

NOT_READY = 75
"""EX_TEMPFAIL: of ``status`` while the daemon runs and takes no new work."""

StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="The daemon's; else that of the settings."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="See config/miner.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The whole answer, as JSON.")]


@ctl.command()
def status(
    state_dir: StateDirOption = None, config_file: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Say how the daemon is; the exit status is 75 while it takes no new work.

    Of several hotkeys there is a line each.
    """
    answer = ask(_state_dir(state_dir, config_file), "GET", "status")
    _tell(answer, as_json, _status_words)
    return 0 if answer.get("ready") else NOT_READY


@ctl.command()
def drain(
    state_dir: StateDirOption = None, config_file: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Have new work refused; return when what was accepted is done or the limit is over."""
    # As long as it takes: the daemon itself knows its limit.
    answer = ask(_state_dir(state_dir, config_file), "POST", "drain", timeout_seconds=None)
    _tell(answer, as_json, _drain_line)


@ctl.command()
def reload(
    state_dir: StateDirOption = None, config_file: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Have the settings read again; say what holds now and what needs a restart."""
    answer = ask(_state_dir(state_dir, config_file), "POST", "reload", timeout_seconds=60.0)
    _tell(answer, as_json, _reload_line)


@ctl.command()
def precision(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="auto, fp32, fp16, bf16, fp8, ...")],
    state_dir: StateDirOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the models loaded anew in another precision, until a restart.

    Running jobs are finished first. What cannot be loaded or warmed up leaves all as it was, and
    the exit status is 69.
    """
    # As long as it takes: loading has its own limit.
    verb = f"precision?mode={quote(mode, safe='')}"
    answer = ask(_state_dir(state_dir, config_file), "POST", verb, timeout_seconds=None)
    _tell(answer, as_json, _precision_line)


@ctl.command()
def rollback(
    state_dir: StateDirOption = None, config_file: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Have new jobs made by the rollback generator, until ``restore``; survives a restart."""
    answer = ask(_state_dir(state_dir, config_file), "POST", "rollback")
    _tell(answer, as_json, _generator_line)


@ctl.command()
def restore(
    state_dir: StateDirOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
    hold: Annotated[
        bool, typer.Option("--hold", help="Keep to it even when it fails; else it may be left.")
    ] = False,
) -> None:
    """Have new jobs made by the primary generator again."""
    verb = "restore?hold=1" if hold else "restore"
    answer = ask(_state_dir(state_dir, config_file), "POST", verb)
    _tell(answer, as_json, _generator_line)


@ctl.command()
def stop(
    state_dir: StateDirOption = None, config_file: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Have the daemon stop in order, as SIGTERM does; return at once."""
    answer = ask(_state_dir(state_dir, config_file), "POST", "stop")
    _tell(answer, as_json, lambda _: "stopping")


def _state_dir(state_dir: Path | None, config_file: Path | None) -> Path:
    return state_dir or load(config=config_file).settings.daemon.state_dir


def _tell(answer: Mapping[str, Any], as_json: bool, line: Callable[[Any], str]) -> None:
    result(json.dumps(answer, indent=2) if as_json else line(answer))


def _status_words(answer: Mapping[str, Any]) -> str:
    """One line, and a table below it where there is more than one identity."""
    ours = several(answer)
    return "\n".join([_status_line(answer), *(lines(ours) if ours else ())])


def _status_line(answer: Mapping[str, Any]) -> str:
    queue, reasons = answer.get("queue", {}), answer.get("reasons", [])
    ready = "ready" if answer.get("ready") else f"not ready ({'; '.join(reasons)})"
    workers = ", ".join(
        f"worker {worker.get('name')} {worker.get('state')}" for worker in answer.get("workers", [])
    )
    parts = [
        ready,
        f"{answer.get('generator') or 'no generator'} on {answer.get('device')}",
        *_rollback_words(answer.get("rollback")),
        f"{queue.get('depth', 0)} waiting, {queue.get('in_flight', 0)} running",
        workers or "no workers",
        *(_identity_words(answer) or _chain_words(answer.get("chain"))),
        f"up {_duration(answer.get('uptime_seconds', 0))}",
    ]
    return "; ".join(parts)


def _identity_words(answer: Mapping[str, Any]) -> list[str]:
    """How many take work, where there are several."""
    ours = several(answer)
    ready = sum(bool(one.get("ready")) for one in ours)
    return [f"{ready} of {len(ours)} identities ready"] if ours else []


def _chain_words(chain: Mapping[str, Any] | None) -> list[str]:
    """How we stand in the subnet, where a chain is watched."""
    if chain is None:
        return []
    standing = chain.get("standing")
    if not standing:
        return [f"netuid {chain.get('netuid')} not read yet"]
    if not standing.get("registered"):
        return [f"not registered on netuid {chain.get('netuid')}"]
    place = f"uid {standing.get('uid')} on netuid {chain.get('netuid')}"
    return [f"{place}, rank {standing.get('rank')} of {standing.get('neurons')}"]


def _rollback_words(rollback: Mapping[str, Any] | None) -> list[str]:
    """What is not as usual with the generators."""
    if rollback is None or (rollback.get("state") == "closed" and not rollback.get("steps")):
        return []
    state = str(rollback.get("state")).replace("_", " ")
    words = [f"breaker {state} ({rollback.get('cause')})"]
    if steps := rollback.get("steps"):
        words.append(f"with {', '.join(steps)}")
    return [" ".join(words)]


def _generator_line(answer: Mapping[str, Any]) -> str:
    held = "until restore" if answer.get("state") == "pinned" else "until it fails"
    return f"new jobs go to {answer.get('generator')} {held}"


def _drain_line(answer: Mapping[str, Any]) -> str:
    left = answer.get("depth", 0) + answer.get("in_flight", 0)
    return "drained: no work is left" if not left else f"the limit is over: {left} jobs are left"


def _reload_line(answer: Mapping[str, Any]) -> str:
    applied, waiting = answer.get("applied", []), answer.get("waiting", [])
    parts = []
    if applied:
        parts.append(f"now holds: {', '.join(applied)}")
    if waiting:
        parts.append(f"after a restart: {', '.join(waiting)}")
    return "; ".join(parts) or "nothing has changed"


def _precision_line(answer: Mapping[str, Any]) -> str:
    plan = answer.get("plan") or {}
    parts = [
        f"{one.get('component')} {one.get('precision')} {one.get('residency')}"
        for one in plan.get("stages", [])
    ]
    return "; ".join([f"precision {answer.get('precision')}", *parts, *plan.get("warnings", [])])


def _duration(seconds: float) -> str:
    """As a person would say it, in the two largest units."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
