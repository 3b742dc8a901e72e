"""Blocks that are streamed through the card, and parts that wait in the host's memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from miner.gpu import parking
from miner.gpu.host_memory import host_memory
from miner.pipeline.text_to_image import TextToImage
from miner.settings.memory import Precision, Residency
from tools.card.bench import GB, Bench
from tools.card.outcome import Outcome, Unmeasured
from tools.card.parts.flux import step_seconds
from tools.card.synthetic import painter, plan_for, sizes

HOST_GB = 40
"""That twice the weights of T5 and FLUX in int8 take while they are packed into pinned memory."""
PROMPT = "a red cube"


def run(bench: Bench, out: Outcome) -> None:
    """int8, which is what the planner streams first."""
    bench.need("one block after the other", 5)
    free = host_memory().free_bytes / GB
    if not bench.tiny and free < HOST_GB:
        raise Unmeasured(f"{HOST_GB} GB of the host's memory are needed, {free:.0f} are free")
    for pinned in (True, False):
        name = "streamed, pinned" if pinned else "streamed, not pinned"
        bench.tidy()
        with out.attempt(name), pinning(pinned):
            made = _painter(bench, "streamed")
            made.paint([PROMPT], [0], steps=1)
            out.add(f"{name}, a step", step_seconds(bench, made), "s")
            del made
    bench.tidy()
    with out.attempt("host"):
        made = _painter(bench, "host")
        made.paint([PROMPT], [0], steps=1)
        made.paint([f"{PROMPT} again"], [0], steps=1)
        for home in made.homes():
            out.add(f"host, to bring {home.name}", home.brought_seconds, "s")


def _painter(bench: Bench, residency: Residency) -> TextToImage:
    plain: Precision = "fp32" if bench.tiny else "bf16"
    how: tuple[Precision, Residency] = ("int8", residency)
    vae: Residency = "host" if residency == "host" else "resident"
    card = bench.device.card()
    plan = plan_for(card, how, how, (plain, vae))
    return painter(bench.preset.text_to_image, bench.device, plan, sizes(bench.tiny))


@contextmanager
def pinning(wanted: bool) -> Iterator[None]:
    """The block pins weights, or does as on a host that cannot spare the memory for it."""
    before = parking.PINNED_SHARE
    parking.PINNED_SHARE = before if wanted else 0.0
    try:
        yield
    finally:
        parking.PINNED_SHARE = before
