"""``miner service``: the daemon as a service of systemd on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from miner.commands.console import Reporter, result
from miner.service import machine, place
from miner.service.unit import TEMPLATE, Choices, render

service = typer.Typer(help="Run the daemon under systemd.", no_args_is_help=True)

SHIPPED = Choices()

TemplateOption = Annotated[
    bool, typer.Option("--template", help="For several on one machine: miner@NAME.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The service's settings.")
]
HotkeyOption = Annotated[
    Path | None,
    typer.Option("--hotkey", metavar="FILE", help="The key's file; systemd reads it, as root."),
]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--password", metavar="FILE", help="Holds what opens an encrypted hotkey."),
]
UserOption = Annotated[
    str | None, typer.Option(help="An account that exists, rather than one of the moment.")
]
GpuOption = Annotated[
    str | None, typer.Option(metavar="INDEX|UUID", help="The CUDA device; else the settings say.")
]
RootOption = Annotated[
    Path, typer.Option("--root", metavar="DIR", help="Taken for /; systemd is not told then.")
]


@service.command()
def show(
    template: TemplateOption = False,
    config: ConfigOption = None,
    hotkey: HotkeyOption = None,
    password: PasswordOption = None,
    user: UserOption = None,
    gpu: GpuOption = None,
    shipped: Annotated[
        bool,
        typer.Option(
            "--shipped", help="As in the folder systemd; the other options are not heard."
        ),
    ] = False,
) -> None:
    """Print the unit that ``install`` would write."""
    if shipped:
        choices = TEMPLATE if template else SHIPPED
    else:
        choices = _choices(template, config, hotkey, password, user, gpu)
    result(render(choices).rstrip("\n"))


@service.command()
def install(
    template: TemplateOption = False,
    config: ConfigOption = None,
    hotkey: HotkeyOption = None,
    password: PasswordOption = None,
    user: UserOption = None,
    gpu: GpuOption = None,
    root: RootOption = Path("/"),
) -> None:
    """Write the unit for this machine, and settings where there are none; starts nothing."""
    choices = machine.check(_choices(template, config, hotkey, password, user, gpu))
    for line in place.install(choices, root):
        result(line)
    name = "miner@NAME" if template else "miner"
    steps = Reporter()
    if template:
        steps.note(f"settings of each: {choices.config}, with NAME for %i and ports of its own")
    for name, path in choices.credentials:
        steps.note(f"the {name}: {path}, readable by root alone (chmod 600)")
    steps.note(f"then: systemctl enable --now {name}; systemctl status {name}")


@service.command()
def uninstall(template: TemplateOption = False, root: RootOption = Path("/")) -> None:
    """Stop the service and remove its unit; settings, keys and state stay."""
    for line in place.uninstall((TEMPLATE if template else SHIPPED).unit_name, root):
        result(line)


def _choices(
    template: bool,
    config: Path | None,
    hotkey: Path | None,
    password: Path | None,
    user: str | None,
    gpu: str | None,
) -> Choices:
    base = TEMPLATE if template else SHIPPED
    choices = replace(
        base,
        program=machine.program(),
        config=config.absolute() if config else base.config,
        hotkey=hotkey.absolute() if hotkey else base.hotkey,
        password=password.absolute() if password else None,
        user=user,
        gpu=gpu,
    )
    return machine.fit(choices)
