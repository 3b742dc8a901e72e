"""The seconds in which a painter is read from a folder."""

from __future__ import annotations

from pathlib import Path

from miner.gpu.capability import installed_here, why_not
from miner.pipeline.text_to_image import TextToImage
from miner.settings.memory import Precision, Residency
from tools.card.bench import GB, Bench
from tools.card.outcome import Outcome, Unmeasured
from tools.card.parts.modes import folder
from tools.card.synthetic import plan_for


def run(bench: Bench, out: Outcome) -> None:
    """At full width with few blocks: seconds, and gigabytes of the files in a second.

    The files are in the system's cache: a first start from a disk takes longer.
    """
    bench.need("FLUX with few blocks", 7)
    where = folder(bench)
    size = sum(file.stat().st_size for file in where.rglob("*.safetensors")) / GB
    out.add("files", size, "GB")
    plain: Precision = "fp32" if bench.tiny else "bf16"
    precisions: tuple[Precision, ...] = (plain, "int8", "nf4")
    for precision in precisions:
        with out.attempt(precision):
            seconds = _load(bench, where, precision, plain)
            out.add(f"{precision}, seconds", seconds, "s")
            out.add(f"{precision}, speed", size / seconds, "GB/s")


def _load(bench: Bench, where: Path, precision: Precision, plain: Precision) -> float:
    """Seconds, everything resident."""
    reason = why_not(precision, bench.device.card(), installed_here)
    if reason:
        raise Unmeasured(reason)
    residency: Residency = "resident"
    how = (precision, residency)
    plan = plan_for(bench.device.card(), how, how, (plain, residency))
    paint = bench.preset.text_to_image
    bench.tidy()
    return bench.once(lambda: TextToImage.load(where, paint, bench.device, plan))
