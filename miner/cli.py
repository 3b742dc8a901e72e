"""The command line: joins the commands and turns errors into one line and an exit status.

Thin on purpose, and light: torch and its like load inside the commands that compute, so that
``miner --help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer

from miner.commands.bench import bench
from miner.commands.config import config
from miner.commands.convert import convert
from miner.commands.ctl import ctl
from miner.commands.demo import demo
from miner.commands.doctor import doctor
from miner.commands.fetch import fetch
from miner.commands.generate import generate
from miner.commands.image import image
from miner.commands.journal import journal
from miner.commands.plan import plan
from miner.commands.render import render
from miner.commands.run import run
from miner.commands.service import service
from miner.commands.top import top
from miner.commands.validator import validator
from miner.commands.validator_serve import validator_serve
from miner.commands.validators import validators
from miner.commands.wallet import wallet
from miner.errors import MinerError
from miner.settings import keep_compiled_kernels, let_gpu_segments_grow, let_idle_threads_sleep

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

app = typer.Typer(
    name="miner",
    help="A miner for a text-to-3D subnet: prompts and pictures in, Gaussian splats out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(run, demo, validators, generate, image, convert, render, fetch, bench),
    *(validator, validator_serve, doctor, plan, top),
):
    app.command()(command)
for group, name in (
    *((ctl, "ctl"), (config, "config"), (journal, "journal"), (wallet, "wallet")),
    (service, "service"),
):
    app.add_typer(group, name=name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status.

    Whatever the user can mend is one line on stderr; only our own mistakes show a traceback.

    Args:
        arguments: without the program's name; the process's own when not given.
    """
    let_idle_threads_sleep()
    let_gpu_segments_grow()
    keep_compiled_kernels()
    # Where it is installed others import it, and it warns of kernels for the CPU that nobody uses.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        status = app(args=arguments, prog_name="miner", standalone_mode=False)
    except MinerError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in message)
    sys.stderr.write(f"miner: {line}\n")
    return status
