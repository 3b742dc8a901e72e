"""``miner bench``: what a machine makes of the full-size models, before anything is downloaded."""

from __future__ import annotations

from typing import Annotated

import typer

from miner.commands.console import Reporter, result
from miner.errors import BadOption
from miner.settings import load_settings

MODELS = ("flux-schnell", "triposr")


def bench(
    synthetic: Annotated[
        str, typer.Option(metavar="|".join(MODELS), help="Full-size model with random weights.")
    ],
    runs: Annotated[int, typer.Option(min=1, max=100, help="Warm runs to time.")] = 3,
) -> None:
    """Time each stage of a full-size model built with random weights, and its peak memory."""
    if synthetic not in MODELS:
        raise BadOption(f"unknown model {synthetic!r}; there are: {', '.join(MODELS)}")
    settings = load_settings("flux-schnell")
    reporter = Reporter()
    with reporter.task("loading libraries"):
        from miner.pipeline import synthetic as models

    with reporter.task(f"{synthetic} at full size, random weights"):
        run = models.bench_triposr if synthetic == "triposr" else models.bench_flux
        outcome = run(settings, runs)
    for line in outcome.lines():
        result(line)
