"""DreamGaussian: iterations a second, and time to a result by where the fit begins.

    python -m tests.benchmarks.bench_dreamgaussian [--objects 3]

Objects are held-out ones of the embedded preset's world; each fit is given the true picture of the
front. A result is held against the true object's silhouettes in 8 views. The same configuration
begins from a random ball (from scratch), from the body of the picture's outline, and from TripoSR's
surface points; with more and more iterations, until the silhouettes are as good as they should be.
Where the embedded guidance is not there, the picture alone is fitted, and the first line says so.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from miner.dreamgaussian.fit import Fitter
from miner.dreamgaussian.settings import FitSettings, load_fit_settings
from miner.errors import WeightsError
from miner.geometry.gaussians import Gaussians
from miner.gpu.allocator import keep_freed_memory
from miner.gpu.device import Device, choose_device
from miner.gpu.weights import WeightStore
from miner.mini.training.rollback import boxed_views, splat_views, true_pictures, true_views
from miner.mini.training.silhouettes import iou
from miner.mini.training.world.draw import Drawn
from miner.pipeline.background import frame
from miner.pipeline.reconstruct import Reconstructor
from miner.rendering import rasterize_cuda
from miner.settings import ReconstructSettings, SurfaceKeys, load_settings

LEVEL = 0.75
"""Silhouette IoU over 8 views that counts as a result."""

ITERATIONS = (2, 5, 10, 20, 40)
STARTS = ("ball", "outline", "TripoSR")
TRIPOSR_POINTS = 7_000


@dataclass(frozen=True)
class Case:
    """One object: what it is, its cut-out picture, and what TripoSR makes of it."""

    truth: Drawn
    cutout: Image.Image
    splat: Gaussians
    triposr_seconds: float


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=3)
    count = parser.parse_args().objects
    keep_freed_memory()  # as the pipeline does
    device, settings = choose_device(), load_fit_settings("mini")
    fitter = load(settings, device)
    raster = "gsplat" if device.is_cuda and rasterize_cuda.available() else "plain torch"
    print(f"DreamGaussian, configuration mini, on {device.name}, rasteriser: {raster}")
    cases = [make_case(*pair, device) for pair in true_pictures(count)]
    rate_table(fitter, cases[0])
    start_table(fitter, cases)


def load(settings: FitSettings, device: Device) -> Fitter:
    """With the embedded guidance, or without one where it is not there."""
    store = WeightStore(load_settings("mini", environ={}).weights, "mini")
    try:
        return Fitter.load(settings, store, device)
    except WeightsError:
        print("the embedded guidance is not there: the picture alone is fitted")
        return Fitter(settings, None, device)


def make_case(truth: Drawn, cutout: Image.Image, device: Device) -> Case:
    """The object with TripoSR's splat."""
    store = WeightStore(load_settings("mini", environ={}).weights, "mini")
    keys = ReconstructSettings(weights="mini/triposr")
    model = Reconstructor.load(store.find(keys.weights), keys, device)
    began = time.perf_counter()
    codes = model.encode(frame(cutout, 0.85))
    surface = SurfaceKeys(count=TRIPOSR_POINTS, resolution=64, base_resolution=32)
    splat, _ = model.to_gaussians(codes, surface, 0)
    return Case(truth, cutout, splat, time.perf_counter() - began)


def rate_table(fitter: Fitter, case: Case) -> None:
    """Iterations a second with what is trained and what is asked."""
    print(f"\n{'':<40}{'Gaussians':>10}{'it/s':>8}{'ms CPU':>8}")
    alone = with_iterations(fitter, 20, weight=0.0)
    whole = with_iterations(fitter, 20)
    rows = [("picture alone, from the outline", alone, None)]
    rows += [("picture alone, from TripoSR's points", alone, case.splat)]
    if whole._guidance is not None:
        rows += [("picture and guidance, from the outline", whole, None)]
    for name, one, start in rows:
        began = time.process_time()
        one.fit(image=case.cutout, start=start)
        used = time.process_time() - began
        report = one.last
        assert report is not None
        rate = report.iterations / (report.seconds - report.prepare_seconds)
        print(f"{name:<40}{report.fitted:>10,}{rate:>8.1f}{1000 * used / report.iterations:>8.0f}")


def start_table(fitter: Fitter, cases: list[Case]) -> None:
    """Seconds and silhouettes by start and number of iterations; the first good enough is told."""
    print(f"\nmean IoU over 8 views (seconds) of {len(cases)} objects; a result: {LEVEL:g}")
    print(f"{'iterations':<12}" + "".join(f"{start:>20}" for start in STARTS))
    reached: dict[str, float] = {}
    for count in ITERATIONS:
        cells = []
        for start in STARTS:
            one = with_iterations(fitter, count, start=start)
            scores, seconds = zip(*(run(one, case, start) for case in cases), strict=True)
            cells.append(f"{f'{np.mean(scores):.3f} ({np.mean(seconds):.2f})':>20}")
            if np.mean(scores) >= LEVEL:
                reached.setdefault(start, float(np.mean(seconds)))
        print(f"{count:<12}" + "".join(cells), flush=True)
    extra = float(np.mean([case.triposr_seconds for case in cases]))
    for start in STARTS:
        told = f"{reached[start]:.2f} s" if start in reached else "not reached"
        also = f" (and {extra:.2f} s for TripoSR)" if start == "TripoSR" else ""
        print(f"time to a result from {start:<8} {told}{also}")


def with_iterations(
    fitter: Fitter, iters: int, weight: float | None = None, start: str = "outline"
) -> Fitter:
    """The same guidance under a changed configuration; nothing else is loaded."""
    keys = fitter.settings
    kind = "ball" if start == "ball" else "silhouette"
    factor = 10.0 if start == "ball" else keys.rates.random_start_factor
    changed = keys.model_copy(
        update={
            "iters": iters,
            "start": keys.start.model_copy(update={"kind": kind}),
            "rates": keys.rates.model_copy(update={"random_start_factor": factor}),
        }
    )
    return Fitter(changed, None if weight == 0.0 else fitter._guidance, fitter.device)


def run(fitter: Fitter, case: Case, start: str) -> tuple[float, float]:
    """IoU over 8 views, and seconds."""
    torch.manual_seed(0)
    given = case.splat if start == "TripoSR" else None
    splat = fitter.fit(image=case.cutout, start=given)
    assert fitter.last is not None
    masks, _ = splat_views(splat, case.truth.elevation_deg)
    pairs = zip(boxed_views(masks), boxed_views(true_views(case.truth)), strict=True)
    return float(np.mean([iou(ours, theirs) for ours, theirs in pairs])), fitter.last.seconds


if __name__ == "__main__":
    main()
