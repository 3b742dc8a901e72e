"""``miner run``: the daemon, in the foreground, until it is told to stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from miner.settings import load


def run(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings; config/miner.toml explains every key."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Models to use; see config/presets.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    chain: Annotated[
        str | None, typer.Option(help="Network, ws:// URL, or static:FILE with peers.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Journal, lock and control socket.")
    ] = None,
    hotkey_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The hotkey's key file, not encrypted.")
    ] = None,
    axon_port: Annotated[int | None, typer.Option(help="What validators call.")] = None,
    api_port: Annotated[int | None, typer.Option(help="The HTTP API.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="What Prometheus scrapes.")] = None,
) -> None:
    """Answer validators until SIGTERM; SIGHUP reads the settings again."""
    import faulthandler

    import uvloop

    from miner.app.daemon import Daemon

    flags: Mapping[str, Any] = {
        "preset": preset,
        "device": device,
        "chain": {"network": chain},
        "state_dir": str(state_dir) if state_dir else None,
        "wallet": {"hotkey_file": str(hotkey_file) if hotkey_file else None},
        "axon": {"port": axon_port},
        "api": {"port": api_port},
        "metrics": {"port": metrics_port},
    }

    faulthandler.enable()  # a watchdog's SIGABRT then shows where the event loop hung

    async def live() -> None:
        await Daemon(load(flags, config=config), lambda: load(flags, config=config)).run()

    uvloop.run(live())
