"""TripoSR: the small one against the CPU, and the times of the full-size one and its surface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.synthetic import BallOfCost
from miner.triposr import TripoSR
from miner.triposr.config import TripoSRConfig
from miner.triposr.config_files import load_config
from miner.triposr.surface import field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings
from tools.card.bench import GB, SMALL_TRIPOSR, Bench
from tools.card.outcome import Outcome, Unmeasured


def run_small(bench: Bench, out: Outcome) -> None:
    """Scene codes and a field on the card, with TF32 and without, against those of the CPU."""
    if not SMALL_TRIPOSR.is_dir():
        raise Unmeasured(f"{SMALL_TRIPOSR.name} is not in this checkout")
    here = TripoSR.load(SMALL_TRIPOSR, device=bench.place)
    cpu = TripoSR.load(SMALL_TRIPOSR)
    noise = torch.Generator().manual_seed(3)
    rgb = torch.rand(1, 256, 256, 3, generator=noise)
    xyz = torch.rand(5000, 3, generator=noise) - 0.5
    with torch.no_grad():
        want = cpu.encode(rgb)
        for name, products, convolutions in (
            ("no TF32", False, False),
            ("TF32 in convolutions", False, True),
            ("TF32 in products", True, False),
            ("TF32 in both", True, True),
        ):
            with tf32(products, convolutions):
                got = here.encode(rgb.to(bench.place)).cpu()
            target = None if products or convolutions else 1e-4
            worst = float((got - want).abs().max() / want.std())
            out.add(f"codes, {name}", worst, "deviations", target=target)
        with tf32(False, False):
            density, colour = here.field(want[0].to(bench.place)).query(xyz.to(bench.place))
        cpu_density, cpu_colour = cpu.query(want[0], xyz)
        out.add("field, log density", float((density.cpu().log() - cpu_density.log()).abs().max()))
        out.add("field, colour", float((colour.cpu() - cpu_colour).abs().max()))


def run_full(bench: Bench, out: Outcome) -> None:
    """Milliseconds, error and memory in each number type, then the seconds of the surface."""
    bench.need("full-size TripoSR", 4)
    model = model_for(bench)
    side = model.config.cond_image_size
    picture = np.random.default_rng(0).random((side, side, 3), np.float32)
    work = Reconstructor(model, bench.device)
    bench.tidy()
    with tf32(False, False):
        seconds, want = bench.timed(lambda: work.encode(picture)), work.encode(picture)
    out.add("fp32", seconds, "s", target=0.10)
    out.add("fp32, peak", bench.peak() / GB or None, "GB")
    with tf32(True, True):
        seconds, got = bench.timed(lambda: work.encode(picture)), work.encode(picture)
    out.add("TF32", seconds, "s", target=0.10)
    out.add("TF32, error", _error(got, want), "deviations, root mean square")
    _surface(bench, out, model, want)
    half = Reconstructor(model.to(torch.bfloat16), bench.device)
    seconds, got = bench.timed(lambda: half.encode(picture)), half.encode(picture)
    out.add("bf16", seconds, "s", target=0.10)
    out.add("bf16, error", _error(got.float(), want), "deviations, root mean square")


def model_for(bench: Bench) -> TripoSR:
    """TripoSR with random weights, made on the device."""
    torch.manual_seed(0)
    config = load_config(SMALL_TRIPOSR) if bench.tiny else TripoSRConfig()
    with bench.place:
        return TripoSR(config).eval().requires_grad_(False)


def surface_settings(bench: Bench) -> SurfaceSettings:
    """As the daemon's, or on the coarsest grid."""
    if bench.tiny:
        return SurfaceSettings(resolution=32, base_resolution=32, count=7000)
    return SurfaceSettings()


@contextmanager
def tf32(products: bool, convolutions: bool) -> Iterator[None]:
    """The block computes with TF32 or without, where the card has it."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _surface(bench: Bench, out: Outcome, model: TripoSR, codes: torch.Tensor) -> None:
    """A ball at the field's cost, because random weights hold no surface."""
    ball, settings = BallOfCost(model.field(codes)), surface_settings(bench)
    bench.tidy()
    seconds = bench.timed(lambda: field_to_gaussians(ball, settings, 0), 2)
    out.add("surface", seconds, "s", target=0.15)
    out.add("surface, peak", bench.peak() / GB or None, "GB")


def _error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).square().mean().sqrt() / want.std())
