"""What the embedded preset reaches, measured on objects and prompts that no training has seen.

    python -m miner.mini.training.evaluate triposr        the small TripoSR, true pictures in
    python -m miner.mini.training.evaluate flux           the small FLUX, held-out kind-colour pairs
    python -m miner.mini.training.evaluate line           prompt to splat, held-out pairs
    python -m miner.mini.training.evaluate rollback       the same without TripoSR, and the zero123

Each prints a line per kind and then the figures beside their targets. All draws have fixed seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import SupportsFloat

import numpy as np
import torch
from PIL import Image

from miner.dreamgaussian.fit import Fitter
from miner.dreamgaussian.guidance_load import load_guidance
from miner.dreamgaussian.guidance_zero123 import Zero123
from miner.dreamgaussian.settings import load_fit_settings
from miner.geometry.cameras import Camera
from miner.gpu.device import choose_device
from miner.gpu.weights import WeightStore
from miner.pipeline.background import frame
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.text_to_image import TextToImage
from miner.rendering.rasterize import render
from miner.settings import load_settings
from miner.triposr import TripoSR

from . import rollback
from .judge import judge_pictures, load_judge
from .silhouettes import Mask, field_grid, field_silhouette, framed, iou
from .world.captions import compose, phrase
from .world.draw import Drawn, build, draw, held_out, refit
from .world.kinds import NAMES as KINDS
from .world.march import render as render_object
from .world.march import silhouette
from .world.palette import NAMES as COLORS
from .world.palette import dominant_color

PACKAGE = Path(__file__).resolve().parents[1]
JUDGE = PACKAGE / "training" / "judge.safetensors"
SIZE = 64
ELEVATION = 12.0
AZIMUTHS = tuple(range(0, 360, 45))
VIEWS = (0, 60, 120)
"""Of the nearest-silhouette check: the front and two that show the depth."""


def _say(name: str, value: SupportsFloat, target: float, at_most: bool = False) -> None:
    met = float(value) <= target if at_most else float(value) >= target
    mark = "met" if met else "MISSED"
    print(f"{name:<58} {float(value):7.3f}   target {target:.2f}   {mark}")


def _framed_picture(drawn: Drawn) -> torch.Tensor:
    rgba = render_object(drawn.scene, 0.0, drawn.elevation_deg, SIZE)
    return torch.from_numpy(frame(Image.fromarray(rgba, "RGBA"), 0.85))[None]


def object_scores(model: TripoSR, drawn: Drawn) -> list[float]:
    """Silhouette IoU of the reconstruction of a true picture in eight views, the front first."""
    with torch.no_grad():
        codes = model.encode(_framed_picture(drawn))[0]
    grid = field_grid(model.field(codes))
    return [
        iou(
            field_silhouette(grid, model.radius, azimuth, drawn.elevation_deg, SIZE),
            silhouette(drawn.scene, azimuth, drawn.elevation_deg, SIZE),
        )
        for azimuth in AZIMUTHS
    ]


def evaluate_triposr(model: TripoSR, count: int) -> None:
    """Silhouettes on new draws of seen and of held-out pairs."""
    by_kind = defaultdict(list)
    for unseen, name in ((False, "new draws"), (True, "held-out pairs")):
        rng = np.random.default_rng([99, int(unseen)])
        scores = []
        for _ in range(count):
            drawn = refit(draw(rng, unseen))
            scores.append(object_scores(model, drawn))
            by_kind[drawn.kind].append(np.mean(scores[-1]))
        table = np.array(scores)
        _say(f"TripoSR, {name}: IoU at the front", table[:, 0].mean(), 0.80 if unseen else 0.85)
        _say(f"TripoSR, {name}: IoU over 8 views", table.mean(), 0.80 if unseen else 0.82)
    print("  ".join(f"{kind} {np.mean(values):.2f}" for kind, values in sorted(by_kind.items())))


def held_out_prompts(count: int) -> Iterator[tuple[str, str, str]]:
    """Prompts (kind, colour, text) over the held-out pairs, phrasings in turn."""
    pairs = [(kind, color) for kind in KINDS for color in COLORS if held_out(kind, color)]
    for i in range(count):
        kind, color = pairs[i % len(pairs)]
        yield kind, color, phrase(kind, color, i * 5 + i // len(pairs))


def evaluate_flux(painter: TextToImage, count: int) -> None:
    """What a classifier of true renderings sees in painted pictures."""
    judge = load_judge(JUDGE)
    wanted = list(held_out_prompts(count))
    pictures = painter.paint([text for _, _, text in wanted], list(range(count)))
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    kinds, colors = judge_pictures(judge, arrays)
    right_kind = np.array([KINDS[k] == w[0] for k, w in zip(kinds, wanted, strict=True)])
    right_color = np.array([COLORS[c] == w[1] for c, w in zip(colors, wanted, strict=True)])
    for (kind, color, text), k, c in zip(wanted, kinds, colors, strict=True):
        if KINDS[k] != kind or COLORS[c] != color:
            print(f"  {text!r} ({color} {kind}) looks like a {COLORS[c]} {KINDS[k]}")
    _say("FLUX, held-out pairs: kind", right_kind.mean(), 0.97)
    _say("FLUX, held-out pairs: hue", right_color.mean(), 0.93)


def silhouette_bank(draws: int = 10) -> dict[str, list[list[Mask]]]:
    """Framed silhouettes in ``VIEWS`` of several draws of every kind."""
    bank: dict[str, list[list[Mask]]] = {}
    for kind in KINDS:
        rng = np.random.default_rng([7, KINDS.index(kind)])
        bank[kind] = []
        for _ in range(draws):
            drawn = build(kind, "grey", compose(kind, "grey", "", rng), rng)
            views = [silhouette(drawn.scene, azimuth, ELEVATION, SIZE) for azimuth in VIEWS]
            bank[kind].append([framed(view) for view in views])
    return bank


def nearest_kinds(masks: list[Mask], bank: dict[str, list[list[Mask]]]) -> list[str]:
    """Kinds from the most to the least alike, each by its nearest draw."""
    best = {
        kind: max(
            float(np.mean([iou(a, b) for a, b in zip(masks, views, strict=True)]))
            for views in draws
        )
        for kind, draws in bank.items()
    }
    return sorted(best, key=lambda kind: -best[kind])


def evaluate_line(pipeline: Pipeline, count: int) -> None:
    """Prompt to splat; every splat has passed the gate, or the pipeline would have raised."""
    bank = silhouette_bank()
    hue, shape, wanted = [], [], list(held_out_prompts(count))
    for seed, (kind, color, text) in enumerate(wanted):
        splat = pipeline.generate(prompt=text, seed=seed).gaussians
        views = [
            render(splat, Camera.orbit(azimuth, ELEVATION, 2.6, 40.0, 96), "black")
            for azimuth in VIEWS
        ]
        alphas = [alpha[..., 0].numpy() for _, alpha in views]
        front = views[0][0].numpy() / np.maximum(alphas[0], 0.5)[..., None]
        seen = dominant_color(front, alphas[0])
        ranked = nearest_kinds([framed(alpha > 0.5) for alpha in alphas], bank)
        hue.append(seen == color)
        shape.append(kind in ranked[:3])
        if not (hue[-1] and shape[-1]):
            print(f"  {text!r}: looks {seen}, shaped like {', '.join(ranked[:3])}")
    _say("line, held-out pairs: dominant hue of the front view", np.mean(hue), 0.92)
    _say("line, held-out pairs: kind among the best three silhouettes", np.mean(shape), 0.92)
    _say("line, held-out pairs: past the gate", len(hue) / count, 1.0)


def evaluate_rollback(pipeline: Pipeline, fitter: Fitter, count: int) -> None:
    """Prompt to splat with TripoSR switched off; the same from true pictures, where truth is known.

    A prompt has no true object: its splat is held against the object of its kind whose front looks
    most like the painted picture, which is chosen before the fit.
    """
    painter = pipeline.painter
    assert painter is not None

    def paint(text: str, seed: int) -> Image.Image:
        return pipeline.remover.cut_out(painter.paint([text], [seed])[0])

    wanted = list(held_out_prompts(count))
    painted = _fit_all(fitter, rollback.painted_pictures(wanted, paint))
    true = _fit_all(fitter, rollback.true_pictures(count))
    seconds = [score.seconds for score in painted]
    hues = rollback.right_hues(painted, [color for _, color, _ in wanted])
    passed = np.mean([score.passed for score in painted + true])
    _say("rollback, held-out prompts: dominant hue of the front view", hues, 0.90)
    _say("rollback, held-out prompts: IoU over 8 views", _mean_iou(painted), 0.55)
    _say("rollback, held-out pictures: IoU over 8 views", _mean_iou(true), 0.55)
    _say("rollback: seconds a fit, the slowest", max(seconds), 15.0, at_most=True)
    _say("rollback: past the gate", passed, 1.0)
    computed = [score.processor_seconds for score in painted]
    print(
        f"seconds a fit: median {np.median(seconds):.1f}; of a processor: median "
        f"{np.median(computed):.1f}, most {max(computed):.1f}"
    )


def _fit_all(fitter: Fitter, cases: Iterable[tuple[Drawn, Image.Image]]) -> list[rollback.Score]:
    scores = []
    for seed, (truth, cutout) in enumerate(cases):
        scores.append(rollback.score(fitter, cutout, truth, seed))
        s = scores[-1]
        print(
            f"  {truth.kind:<10} IoU {s.ious[0]:.2f} at the front, {np.mean(s.ious):.2f} in all, "
            f"{s.color}, {s.seconds:.1f} s",
            flush=True,
        )
    return scores


def _mean_iou(scores: list[rollback.Score]) -> float:
    return float(np.mean([score.ious for score in scores]))


def evaluate_zero123(guidance: Zero123, count: int) -> None:
    """The views it makes up, of true pictures of held-out pairs."""
    iou, psnr, lazy = rollback.imagined_scores(guidance, count)
    print(
        f"zero123 alone, held-out pairs: IoU of seven turned views {iou:.3f}, "
        f"of the front taken for all of them {lazy:.3f}; PSNR {psnr:.1f} dB"
    )


def main() -> None:
    """Evaluate the shipped weights, or a folder of others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("triposr", "flux", "line", "rollback"))
    parser.add_argument("--count", type=int, help="objects or prompts; 120, of the rollback 40")
    parser.add_argument("--fit", default="mini", help="configuration of the rollback's fit")
    parser.add_argument("--weights", type=Path, help="a TripoSR folder other than the shipped one")
    o = parser.parse_args()
    settings = load_settings("mini")
    if o.what == "triposr":
        evaluate_triposr(TripoSR.load(o.weights or PACKAGE / "weights" / "triposr"), o.count or 120)
        return
    pipeline = Pipeline.load(settings.preset, settings.weights, "cpu")
    if o.what == "flux":
        assert pipeline.painter is not None
        evaluate_flux(pipeline.painter, o.count or 120)
    elif o.what == "line":
        evaluate_line(pipeline, o.count or 120)
    else:
        fit = load_fit_settings(o.fit)
        store = WeightStore(settings.weights, "mini")
        device = choose_device("cpu")
        evaluate_rollback(pipeline, Fitter.load(fit, store, device), o.count or 40)
        keys = fit.guidance
        guidance = load_guidance(
            store.find(keys.weights), store.find(keys.vae_weights), keys, device
        )
        if isinstance(guidance, Zero123):
            evaluate_zero123(guidance, o.count or 40)


if __name__ == "__main__":
    main()
