"""Full-size FLUX: seconds of a picture and of a step, and what activations take.

T5 has two layers here: the words are known in every run that counts, and building it takes time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from miner.gpu.capability import installed_here, why_not
from miner.gpu.catalogue import load_catalogue
from miner.gpu.plan import PAINTER_COMPONENTS
from miner.pipeline.faster import compile_blocks, convolutions_channels_last
from miner.pipeline.text_to_image import TextToImage
from miner.settings.memory import Precision
from tools.card.bench import GB, Bench
from tools.card.outcome import Outcome, Unmeasured
from tools.card.synthetic import painter, plan_for, sizes

STEPS = 3
NEEDED_GB = {"bf16": 27, "int8": 15, "fp8": 15, "nf4": 10}
"""FLUX in that precision with its VAE, activations and two layers of T5."""
BLOCKS = (19, 38, 2)
"""FLUX whole, and two layers of T5."""
PROMPT = "a red cube"


def run(bench: Bench, out: Outcome) -> None:
    """bf16 first, which has the targets; then the smaller ones."""
    for precision in _precisions():
        bench.tidy()
        with out.attempt(precision):
            _one(bench, out, precision)


def _precisions() -> Sequence[Precision]:
    return ("bf16", "int8", "fp8", "nf4")


def _one(bench: Bench, out: Outcome, precision: Precision) -> None:
    reason = why_not(precision, bench.device.card(), installed_here)
    if reason:
        raise Unmeasured(reason)
    bench.need(f"FLUX in {precision}", NEEDED_GB[precision])
    full: Precision = "fp32" if bench.tiny else "bf16"
    how: Precision = full if precision == "bf16" else precision
    card = bench.device.card()
    plan = plan_for(card, (full, "resident"), (how, "resident"), (full, "resident"))
    made = painter(bench.preset.text_to_image, bench.device, plan, sizes(bench.tiny, BLOCKS))
    made.paint([PROMPT], [0], steps=1)
    out.add(f"{precision}, a step", step_seconds(bench, made), "s")
    target = 0.25 if precision == "bf16" else None
    out.add(f"{precision}, {STEPS} steps", _seconds(bench, made, STEPS), "s", target=target)
    if precision == "bf16":
        _activations(bench, out, made)
        _channels_last(bench, out, made)
    if precision in ("bf16", "int8"):
        _compiled(bench, out, made, precision, target)
        torch._dynamo.reset()  # it holds the networks that it compiled


def step_seconds(bench: Bench, made: TextToImage) -> float:
    """Of one more step, without the VAE."""
    return (_seconds(bench, made, STEPS) - _seconds(bench, made, 1)) / (STEPS - 1)


def _seconds(bench: Bench, made: TextToImage, steps: int) -> float:
    return bench.timed(lambda: made.paint([PROMPT], [0], steps=steps))


def _activations(bench: Bench, out: Outcome, made: TextToImage) -> None:
    """Most memory of a part at work beyond what rests, beside the catalogue's estimate."""
    bench.tidy()
    rest = bench.allocated()
    bench.device.peaks.clear()
    made.paint([PROMPT], [0], steps=1)
    known = load_catalogue()["flux-schnell"].parts
    for component in PAINTER_COMPONENTS[1:]:
        peak = bench.device.peaks.get(component)
        found = None if peak is None else (peak - rest) / GB
        planned = known[component].activation_bytes / GB
        out.add(f"activations of {component}", found, "GB", planned=planned)


def _channels_last(bench: Bench, out: Outcome, made: TextToImage) -> None:
    """One step and the VAE, as it is and with convolutions channels last."""
    out.add("a step and the VAE", _seconds(bench, made, 1), "s")
    convolutions_channels_last(made._pipeline.vae)
    out.add("a step and the VAE, channels last", _seconds(bench, made, 1), "s")


def _compiled(
    bench: Bench, out: Outcome, made: TextToImage, precision: str, target: float | None
) -> None:
    """A CPU in tiny sizes only plays the way there: it needs no compiler."""
    with out.attempt(f"{precision}, compiled"):
        compile_blocks(made._pipeline.transformer, "eager" if bench.tiny else "inductor")
        seconds = bench.once(lambda: made.paint([PROMPT], [0], steps=1))
        out.add(f"{precision}, compiling", seconds, "s")
        seconds = _seconds(bench, made, STEPS)
        out.add(f"{precision}, {STEPS} steps, compiled", seconds, "s", target=target)
