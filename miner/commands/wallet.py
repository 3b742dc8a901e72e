"""``miner wallet``: keys for tests and demonstrations; real ones are made with the chain's tools.

It never reads a coldkey and never shows a secret; the new key's file is the only copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miner.admission.wallet import new_hotkey_file
from miner.commands.console import Reporter, result
from miner.settings.subnet import WALLETS

wallet = typer.Typer(help="Keys for tests and demonstrations.", no_args_is_help=True)


@wallet.callback()
def _group() -> None:
    """Keeps the only command a command of a group."""


@wallet.command("new-hotkey")
def new_hotkey(
    name: Annotated[str, typer.Argument(help="Of the wallet; it needs no coldkey.")],
    hotkey: Annotated[str, typer.Argument(help="Name of the key.")] = "default",
    path: Annotated[
        Path, typer.Option("--path", metavar="DIR", help="The folder of all wallets.")
    ] = WALLETS,
) -> None:
    """Make a plain hotkey, for tests and demonstrations, and print its address.

    The file is readable by you alone, in the standard folder, and not encrypted. An existing key is
    never overwritten.
    """
    file, signer = new_hotkey_file(path, name, hotkey)
    result(signer.ss58_address)
    Reporter().note(f"{file}: a throw-away key; register and fund only keys made by your wallet")
