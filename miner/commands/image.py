"""``miner image``: what the first stage makes of a prompt, as a PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from miner import files
from miner.commands.console import Reporter, result
from miner.commands.generate import MAX_SEED
from miner.errors import BadOption
from miner.pipeline.aspects import ASPECTS, sides
from miner.settings import Settings, load_settings

if TYPE_CHECKING:
    from miner.gpu.device import Device
    from miner.gpu.plan import MemoryPlan
    from miner.pipeline.text_to_image import TextToImage

MAX_STEPS = 100


def image(
    prompt: Annotated[str, typer.Argument(help="What to paint.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .png file.")],
    aspect: Annotated[str, typer.Option(metavar="W:H", help=", ".join(ASPECTS) + ".")] = "1:1",
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Equal seeds give equal pictures.")
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, max=MAX_STEPS, help="Of denoising; else the preset's.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Models to use; see config/presets.")] = None,
) -> None:
    """Paint a prompt as the first stage of a job does, and stop there.

    Splats are made from square pictures; other aspects are for looking only.
    """
    from miner.pipeline.prompts import clean_prompt

    if output.suffix.lower() != ".png":
        raise BadOption(f"{output}: must end in .png")
    cleaned = clean_prompt(prompt)
    settings = load_settings(preset, {"text_to_image": {"steps": steps}} if steps else None)
    sides(aspect, settings.preset.text_to_image.size_px, 1)  # a mistyped one costs no loading
    reporter = Reporter()
    with reporter.task(f"loading the painter of {settings.preset.name}"):
        painter, device = _load(settings)
    size = sides(aspect, painter.settings.size_px, painter.multiple_px)
    with reporter.task(f"painting {cleaned}"):
        data, seconds = _paint(painter, device, cleaned, seed, size)
    files.make_folder(output.parent)
    files.write_atomic(output, data)
    result(f"wrote {output}: {size[0]} x {size[1]} px, {len(data):,} bytes, {seconds:.2f} s")


def _load(settings: Settings) -> tuple[TextToImage, Device]:
    """The first stage alone, as the memory plan has it."""
    from miner.gpu.device import choose_device
    from miner.gpu.weights import WeightStore
    from miner.pipeline.plan_trials import PlanTrials
    from miner.pipeline.planned import as_planned
    from miner.pipeline.stage import translated
    from miner.pipeline.text_to_image import STAGE, TextToImage

    device = choose_device(settings.device)
    store = WeightStore(settings.weights, settings.preset.name)

    def load(plan: MemoryPlan) -> TextToImage:
        keys = as_planned(settings.preset, plan).text_to_image
        folder = store.find(keys.weights)
        with translated(STAGE), store.reading(keys.weights):
            return TextToImage.load(folder, keys, device, plan)

    trials = PlanTrials.here(settings.preset, settings.device, settings.daemon.rollback)
    return trials.run(load), device


def _paint(
    painter: TextToImage, device: Device, prompt: str, seed: int, size: tuple[int, int]
) -> tuple[bytes, float]:
    """The picture's file, and the seconds that painting took."""
    from miner.pipeline.stage import CancelFlag, Timings, stage
    from miner.pipeline.text_to_image import STAGE

    timings: Timings = {}
    with stage(STAGE, device, timings, CancelFlag()):
        (picture,) = painter.paint([prompt], [seed], size=size)
    target = io.BytesIO()
    picture.save(target, "PNG")
    return target.getvalue(), timings[STAGE]
