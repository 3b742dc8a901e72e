"""Whether the self-check of the embedded preset tells right prompts from wrong ones.

    python -m miner.mini.training.evaluate_clip [--weights FOLDER] [--save FILE.npz]

Splats of held-out prompts, made by the whole line, are held against the prompt they were made for
and against three wrong ones: another of the prompts, the same kind in another colour, and another
kind in the same colour; and against the pictures painted for the same and for another prompt. No
training has seen a held-out pair, nor its caption, and the painter's own mistakes count here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miner.gpu.device import choose_device
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.selfcheck import SelfCheck
from miner.settings import load_settings

from .evaluate import held_out_prompts
from .world.captions import phrase
from .world.kinds import NAMES as KINDS
from .world.palette import NAMES as COLORS

TARGET = 0.95
COLUMNS = (
    "right",
    "another prompt",
    "another colour",
    "another kind",
    "right picture",
    "another picture",
)


def wrong_prompts(kind: str, color: str, index: int) -> tuple[str, str]:
    """The same kind in another colour, and another kind in the same colour."""
    rng = np.random.default_rng([41, index])
    other_color = str(rng.choice([c for c in COLORS if c != color]))
    other_kind = str(rng.choice([k for k in KINDS if k != kind]))
    return phrase(kind, other_color, index * 5), phrase(other_kind, color, index * 5)


def alignments(pipeline: Pipeline, check: SelfCheck, count: int) -> Iterator[list[float]]:
    """A row of ``COLUMNS`` for each prompt."""
    wanted = list(held_out_prompts(count))
    texts = [text for _, _, text in wanted]
    made = [pipeline.generate(prompt=text, seed=seed) for seed, text in enumerate(texts)]
    for i, (kind, color, text) in enumerate(wanted):
        seen = check.look(made[i].gaussians)
        another = (i + count // 2 + 1) % count
        asked = (
            *(text, texts[another], *wrong_prompts(kind, color, i)),
            *(made[i].picture, made[another].picture),
        )
        yield [check.compare(seen, one).alignment for one in asked if one is not None]


def report(table: NDArray[np.float64], prompts: list[str]) -> None:
    """Shares of prompts for which the right one is ahead, and where a threshold would lie."""
    for i, name in enumerate(COLUMNS):
        low, middle, high = np.quantile(table[:, i], [0.05, 0.5, 0.95])
        print(f"{name:<20} 5 % {low:6.3f}   median {middle:6.3f}   95 % {high:6.3f}")
    for right, wrong in ((0, 1), (0, 2), (0, 3), (4, 5)):
        ahead = float((table[:, right] > table[:, wrong]).mean())
        mark = "met" if ahead >= TARGET else "MISSED"
        print(f"{COLUMNS[right]} over {COLUMNS[wrong]:<20} {ahead:6.3f}   target {TARGET}   {mark}")
    for name, rights, wrongs in (("texts", [0], [1, 2, 3]), ("pictures", [4], [5])):
        good, bad = table[:, rights].ravel(), table[:, wrongs].ravel()
        cuts = np.unique(np.concatenate([good, bad]))
        kept = [float((good >= cut).mean() + (bad < cut).mean()) for cut in cuts]
        best = float(cuts[int(np.argmax(kept))])
        print(
            f"{name}: a cut at {best:.3f} keeps {(good >= best).mean():.3f} of the right "
            f"and {(bad >= best).mean():.3f} of the wrong"
        )
    for text, row in zip(prompts, table, strict=True):
        if row[0] <= row[1:4].max():
            print(f"  {text!r}: " + ", ".join(f"{value:.3f}" for value in row))


def main() -> None:
    """Evaluate the shipped weights, or a folder of others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--weights", type=Path, help="a CLIP folder other than the shipped one")
    parser.add_argument("--save", type=Path, help="where to put the table")
    o = parser.parse_args()
    settings = load_settings("mini")
    preset = settings.preset
    off = preset.model_copy(
        update={"self_check": preset.self_check.model_copy(update={"mode": "off"})}
    )
    pipeline = Pipeline.load(off, settings.weights, "cpu")
    folder = o.weights or Path(__file__).resolve().parents[1] / "weights" / "clip"
    check = SelfCheck.load(folder, preset.self_check, choose_device("cpu"))
    table = np.array(list(alignments(pipeline, check, o.count)))
    if o.save:
        np.savez(o.save, table=table)
    report(table, [text for _, _, text in held_out_prompts(o.count)])
    splat = pipeline.generate(prompt="a red cube").gaussians
    check.judge(splat, "a red cube")
    start = time.perf_counter()
    for _ in range(5):
        check.judge(splat, "a red cube")
    print(f"one check of {len(splat):,} Gaussians: {(time.perf_counter() - start) / 5:.3f} s")


if __name__ == "__main__":
    main()
