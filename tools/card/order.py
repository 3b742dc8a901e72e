"""The parts of the check, in the order of their worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.card.bench import Bench
from tools.card.outcome import Outcome
from tools.card.parts import (
    flux,
    loading,
    machine,
    matting,
    modes,
    overlap,
    plans,
    rendering,
    streaming,
    triposr,
    whole,
)


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: as ``--only`` takes it.
        seconds: expected on a card, an estimate; a part that does not fit the rest is skipped.
        run: measures, and raises ``Unmeasured`` where it cannot.
    """

    name: str
    title: str
    seconds: float
    run: Callable[[Bench, Outcome], None]


PARTS = (
    Part("machine", "versions, memory, context", 5, machine.run),
    Part("small", "small TripoSR on the card against the CPU", 10, triposr.run_small),
    Part("modes", "every precision and residency paints the same", 90, modes.run),
    Part("plans", "planned against measured bytes, this card and smaller ones", 150, plans.run),
    Part("triposr", "full-size TripoSR and the surface", 30, triposr.run_full),
    Part("flux", "full-size FLUX: eager, compiled, 8 and 4 bits", 100, flux.run),
    Part("whole", "prompt to SPZ at full size", 30, whole.run),
    Part("matting", "matting with onnxruntime", 30, matting.run),
    Part("streaming", "blocks that are streamed, parts that wait on the host", 40, streaming.run),
    Part("gsplat", "gsplat against plain torch", 15, rendering.run),
    Part("overlap", "jobs an hour with and without overlap", 30, overlap.run),
    Part("loading", "loading from a folder", 30, loading.run),
)
