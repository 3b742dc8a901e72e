"""Every precision and residency: the same picture, the bytes at rest, the seconds.

At full width with few blocks, by the code that loads published weights from a folder.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from miner.gpu.capability import installed_here, why_not
from miner.pipeline.painter_kinds import VAE
from miner.pipeline.painter_load import pipeline_class
from miner.pipeline.text_to_image import TextToImage
from miner.settings.memory import Precision, Residency
from tools.card.bench import GB, Bench
from tools.card.outcome import Outcome, Unmeasured
from tools.card.synthetic import plan_for, sizes

BLOCKS = (2, 4, 2)
"""Double and single blocks of FLUX, layers of T5: about 4 GB on disk in bf16."""
PRECISIONS: tuple[Precision, ...] = ("bf16", "int8", "fp8", "nf4")
RESIDENCIES: tuple[Residency, ...] = ("resident", "host", "streamed", "segmented")
NOT_STREAMED = ("nf4",)
"""The planner streams no 4-bit weights."""
SAME = 0.5
"""Of 255, on average, that two pictures of one precision may differ by."""


def run(bench: Bench, out: Outcome) -> None:
    """Each mode in turn; one that fails leaves the others."""
    bench.need("FLUX with few blocks", 7)
    where = folder(bench)
    first: dict[str, np.ndarray] = {}
    for precision in ("fp32", *PRECISIONS[1:]) if bench.tiny else PRECISIONS:
        for residency in RESIDENCIES:
            if precision in NOT_STREAMED and residency == "streamed":
                continue
            name = f"{precision} {residency}"
            bench.tidy()
            with out.attempt(name):
                _mode(bench, out, where, precision, residency, first)


def _mode(
    bench: Bench,
    out: Outcome,
    where: Path,
    precision: Precision,
    residency: Residency,
    first: dict[str, np.ndarray],
) -> None:
    reason = why_not(precision, bench.device.card(), installed_here)
    if reason:
        raise Unmeasured(reason)
    name, paint = f"{precision} {residency}", bench.preset.text_to_image
    how = (precision, residency)
    plain: Precision = "fp32" if bench.tiny else "bf16"
    kept: Residency = "resident" if residency == "streamed" else residency
    plan = plan_for(bench.device.card(), how, how, (plain, kept))
    before, began = bench.allocated(), time.perf_counter()
    painter = TextToImage.load(where, paint, bench.device, plan)
    out.add(f"{name}, load", time.perf_counter() - began, "s")
    rest = bench.allocated() - before
    homes = [home._model for home in painter.homes() if home._model is not None]
    weights = sum(model.bytes for model in homes)
    if residency in ("resident", "host") and bench.device.is_cuda:
        planned = weights if residency == "resident" else 0
        out.add(f"{name}, at rest", rest / GB, "GB", planned=planned / GB)
    elif residency == "resident":
        out.add(f"{name}, weights", weights / GB, "GB")
    picture = np.asarray(painter.paint(["a red cube"], [1])[0], np.float32)
    base = first.setdefault(precision, picture)
    differs = float(np.abs(picture - base).mean())
    out.add(f"{name}, seconds", bench.timed(lambda: painter.paint(["a red cube"], [1]), 2), "s")
    out.add(f"{name}, differs from {precision} {RESIDENCIES[0]}", differs, "of 255", target=SAME)
    if differs > SAME:
        raise ValueError(f"paints another picture: {differs:.2f} of 255 on average")


def folder(bench: Bench) -> Path:
    """A painter with random weights in the diffusers layout, written when first asked for."""
    where = bench.folder / "few-blocks"
    if not where.exists():
        torch.manual_seed(0)
        pipeline_class(bench.preset.text_to_image.pipeline)  # has the libraries show no progress
        made = TextToImage.synthetic(
            bench.preset.text_to_image, bench.device, sizes(bench.tiny, BLOCKS)
        )
        made.save(where)
        del made
        bench.tidy()
    assert (where / VAE).is_dir()
    return where
