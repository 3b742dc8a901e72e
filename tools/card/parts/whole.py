"""From a prompt to SPZ, all models at full size with random weights, as this card's plan says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from PIL import Image

from miner.errors import BadOutput
from miner.pipeline.background import BackgroundRemover
from miner.pipeline.faster import compile_blocks
from tools.card.bench import Bench
from tools.card.outcome import Outcome
from tools.card.parts.matting import load
from tools.card.planned import OWN, Models, card_named, make

RUNS = 3
TARGETS = {"TripoSR": 0.10, "surface": 0.15}
COMPILE_SECONDS = 90
"""Left of the command's time, at least, for compiling to be tried; an estimate."""


def run(bench: Bench, out: Outcome) -> None:
    """The best of some jobs with new words each, stage by stage."""
    bench.need("a plan for FLUX", 6)
    models = make(bench, card_named(OWN, bench))
    found: list[BackgroundRemover] = []
    with out.attempt("matting network"):
        found.append(load(bench))

    def cut_out(picture: Image.Image) -> None:
        for remover in found:
            with suppress(BadOutput):  # a random network's mask is no mask
                remover.cut_out(picture)

    _measure(models, out, "", cut_out)
    denoiser = models.plan.of("transformer")
    if denoiser.residency == "resident" and (bench.tiny or bench.left_seconds > COMPILE_SECONDS):
        with out.attempt("compiled"):
            compile_blocks(
                models.painter._pipeline.transformer, "eager" if bench.tiny else "inductor"
            )
            _measure(models, out, ", compiled", cut_out)


def _measure(
    models: Models, out: Outcome, how: str, cut_out: Callable[[Image.Image], object]
) -> None:
    """One job that does not count, then the best of the others."""
    best: dict[str, float] = {}
    for number in range(2 if models.bench.tiny else RUNS + 1):
        found = models.run(f"words {number}{how}", number, cut_out)
        if number and (not best or sum(found.values()) < sum(best.values())):
            best = found
    for name, seconds in best.items():
        out.add(f"{name}{how}", seconds, "s", target=TARGETS.get(name))
    total = sum(best.values())
    out.add(f"prompt to SPZ{how}", total, "s", target=0.6)
    out.add(f"prompt to SPZ without matting{how}", total - best["matting"], "s")
