"""All of a plan's networks with random weights, and a job through them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from miner.encoder import encode
from miner.gpu.host_memory import host_memory
from miner.gpu.parking import Parking
from miner.gpu.plan import PAINTER_COMPONENTS, Card, MemoryPlan
from miner.gpu.planner import make_plan
from miner.gpu.precision_modes import PLAIN, settled_here
from miner.gpu.usual_cards import preset_for
from miner.pipeline.planned import as_planned
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.residence import Residence
from miner.pipeline.synthetic import BallOfCost
from miner.pipeline.text_to_image import TextToImage
from miner.settings import load_settings
from miner.settings.memory import Precision
from miner.triposr import TripoSR
from miner.triposr.surface import field_to_gaussians
from tools.card.bench import GIB, Bench
from tools.card.outcome import Unmeasured
from tools.card.parts.triposr import model_for, surface_settings
from tools.card.synthetic import painter, sizes

OWN = "this card"
CARDS: dict[str, tuple[float, float, tuple[int, int]]] = {
    "24 GB": (23.52, 23.1, (8, 9)),
    "16 GB": (15.6, 15.3, (8, 9)),
    "12 GB": (11.63, 11.4, (8, 6)),
    "8 GB": (7.63, 7.4, (8, 9)),
}
"""GiB that torch sees of a card, GiB that are free of it with a context, and compute capability."""

BUILT = (*PAINTER_COMPONENTS, "triposr")
"""Components that are made here; what others hold is taken from the plan."""


@dataclass(frozen=True, eq=False)
class Models:
    """A plan and its networks, each where it waits."""

    bench: Bench
    plan: MemoryPlan
    painter: TextToImage
    home: Residence[Parking]
    triposr: Callable[[], TripoSR]

    def run(
        self, prompt: str, seed: int, between: Callable[[Image.Image], object]
    ) -> dict[str, float]:
        """Seconds of each stage of a job, in their order.

        Args:
            prompt: one that was not read before is read first.
            seed: of the picture.
            between: what is done with the picture before it is reconstructed.
        """
        clock = _Stages(self.bench)
        picture = self.painter.paint([prompt], [seed])[0]
        clock.done("picture")
        between(picture)
        clock.done("matting")
        with self.home.in_use():
            model = self.triposr()
            side = model.config.cond_image_size
            framed = np.asarray(picture.resize((side, side)), np.float32) / np.float32(255)
            codes = Reconstructor(model, self.bench.device).encode(framed)
            clock.done("TripoSR")
            ball = BallOfCost(model.field(codes))
            gaussians, _ = field_to_gaussians(ball, surface_settings(self.bench), seed)
        clock.done("surface")
        encode(gaussians, "spz")
        clock.done("SPZ")
        return clock.seconds


class _Stages:
    def __init__(self, bench: Bench) -> None:
        self.seconds: dict[str, float] = {}
        self._bench = bench
        self._began = time.perf_counter()

    def done(self, name: str) -> None:
        self._bench.device.synchronize()
        now = time.perf_counter()
        self.seconds[name], self._began = now - self._began, now


def card_named(name: str, bench: Bench) -> Card:
    """The card of this machine, or one of ``CARDS`` in a machine with this one's host memory."""
    host = host_memory().free_bytes
    if name != OWN:
        total, free, capability = CARDS[name]
        return Card(name, int(total * GIB), int(free * GIB), capability, host)
    if bench.device.is_cuda:
        return bench.device.card()
    return Card("a card", 24 * GIB, 23 * GIB, (8, 9), host)  # a CPU plays it in tiny sizes


def make(bench: Bench, card: Card) -> Models:
    """The plan of a card, and its networks on this machine's device.

    Raises:
        Unmeasured: the plan is for another painter than FLUX.
    """
    preset = load_settings(preset_for(card)).preset
    plan = make_plan(card, preset)
    if plan.painter != "flux-schnell":
        raise Unmeasured(f"the plan paints with {plan.painter}")
    settings = as_planned(preset, plan).text_to_image.model_copy(
        update={"batch_size": 1, "size_px": bench.preset.text_to_image.size_px}
    )
    stage = plan.of("triposr")
    made: list[TripoSR] = []
    home = Residence(
        partial(_triposr, bench, stage.precision, stage.residency == "host", made),
        stage.residency,
        0.0,
        bench.device,
        name="triposr",
        loads_parked=True,
    )
    paints = painter(settings, bench.device, plan, sizes(bench.tiny))
    return Models(bench, plan, paints, home, lambda: made[-1])


def _triposr(bench: Bench, precision: Precision, often: bool, made: list[TripoSR]) -> Parking:
    """TripoSR on the host, in the planned number type."""
    settled = settled_here(precision, bench.device).precision
    model = model_for(bench).to(PLAIN[settled]).to("cpu")
    made[:] = [model]
    return Parking([model], bench.device, often)
