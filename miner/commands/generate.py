"""``miner generate``: prompts or a picture become splat files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miner import encoder, files
from miner.commands.console import Reporter, result
from miner.commands.outputs import plan_outputs
from miner.errors import BadOption, BadPrompt, MinerError
from miner.settings import MAX_GAUSSIANS, MIN_GAUSSIANS, Settings, load_settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from miner.gpu.plan import MemoryPlan
    from miner.pipeline.pipeline import GenerationResult, Painting, Pipeline

MAX_SEED = 2**63 - 1
MAX_PROMPT_FILE_BYTES = 16 * 2**20


def generate(
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="PATH", help="A file, or a folder with a /.")
    ],
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT...]", help="What to make.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Start from this picture instead of a prompt.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompts", help="Read prompts from a file, one a line.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Equal seeds give equal results.")
    ] = 0,
    format: Annotated[
        str | None, typer.Option(help="ply or spz; by the name's ending otherwise.")
    ] = None,
    gaussians: Annotated[
        int | None,
        typer.Option(min=MIN_GAUSSIANS, max=MAX_GAUSSIANS, help="How many Gaussians."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Models to use; see config/presets.")] = None,
    report: Annotated[
        str | None, typer.Option(help="json: one line for each result on stdout.")
    ] = None,
) -> None:
    """Make a splat of each prompt, or of one picture."""
    if report not in (None, "json"):
        raise BadOption(f"unknown report {report!r}; there is: json")
    settings = load_settings(preset, {"surface": {"count": gaussians}})
    work = _gather(prompts or [], prompt_file, image)
    targets = plan_outputs(output, work.titles, format)
    reporter = Reporter()
    pipeline = _load(settings, work, reporter)
    sources = _paint(pipeline, work, seed, reporter)
    failures: list[MinerError] = []
    for title, source, target in zip(work.titles, sources, targets, strict=True):
        job = _Job(title, source, seed, *target, report is not None)
        try:
            _make(pipeline, job, reporter)
        except MinerError as error:
            if len(targets) == 1:
                raise
            failures.append(error)
            _report_failure(job, error, reporter)
    if failures:
        reporter.note(f"{len(failures)} of {len(targets)} failed")
        raise typer.Exit(failures[0].exit_code)


@dataclass(frozen=True)
class _Work:
    """What is asked for, checked: prompts, or one picture."""

    prompts: list[str]
    image: Image | None
    titles: list[str]


@dataclass(frozen=True)
class _Job:
    """One result on its way to its file."""

    title: str
    source: Image | Painting
    seed: int
    path: Path
    format: str
    report: bool


def _gather(prompts: Sequence[str], prompt_file: Path | None, image: Path | None) -> _Work:
    from miner.pipeline.images import load_image
    from miner.pipeline.prompts import clean_prompt

    if image is not None:
        if prompts or prompt_file is not None:
            raise BadOption("give a prompt or --image, not both")
        return _Work([], load_image(image), [image.stem])
    everything = [*prompts, *(_read_prompts(prompt_file) if prompt_file is not None else [])]
    if not everything:
        raise BadPrompt("nothing to make: give a prompt, --prompts FILE or --image FILE")
    cleaned = [clean_prompt(prompt) for prompt in everything]
    return _Work(cleaned, None, cleaned)


def _read_prompts(path: Path) -> list[str]:
    """The lines of a file that are not blank."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROMPT_FILE_BYTES + 1)
    except OSError as error:
        raise BadPrompt(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_PROMPT_FILE_BYTES:
        raise BadPrompt(f"{path}: over {MAX_PROMPT_FILE_BYTES >> 20} MiB; split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadPrompt(f"{path}: not UTF-8 text at byte {error.start}") from error
    return [line for line in text.split("\n") if line.strip()]


def _load(settings: Settings, work: _Work, reporter: Reporter) -> Pipeline:
    with reporter.task(f"loading the preset {settings.preset.name}"):
        from miner.pipeline.pipeline import Pipeline
        from miner.pipeline.plan_trials import PlanTrials

        def load(plan: MemoryPlan) -> Pipeline:
            preset, weights, device = settings.preset, settings.weights, settings.device
            return Pipeline.load(preset, weights, device, not work.image, plan=plan)

        trials = PlanTrials.here(settings.preset, settings.device, settings.daemon.rollback)
        pipeline = trials.run(load)
    reporter.note(f"on {pipeline.device.name}; background removal by {pipeline.remover.provider}")
    reporter.timings("loaded", pipeline.load_timings)
    return pipeline


def _paint(
    pipeline: Pipeline, work: _Work, seed: int, reporter: Reporter
) -> Sequence[Image | Painting]:
    if work.image is not None:
        return [work.image]
    count = len(work.prompts)
    with reporter.task(f"painting {count} prompt{'s' if count > 1 else ''}"):
        return pipeline.paint(work.prompts, [seed] * count, on_progress=reporter.progress)


def _make(pipeline: Pipeline, job: _Job, reporter: Reporter) -> None:
    with reporter.task(f"building {job.title}"):
        made = pipeline.generate(
            image=job.source, seed=job.seed, measure=job.report, on_progress=reporter.progress
        )
        data = encoder.encode(made.gaussians, job.format)
        files.make_folder(job.path.parent)
        files.write_atomic(job.path, data)
    size = f"{len(made.gaussians):,} Gaussians, {len(data):,} bytes"
    if job.report:
        result(json.dumps(_report(pipeline, job, made, len(data)), ensure_ascii=False))
        reporter.note(f"wrote {job.path}: {size}")
    else:
        result(f"wrote {job.path}: {size}")
    reporter.timings(job.title, made.timings)


def _report(pipeline: Pipeline, job: _Job, made: GenerationResult, size: int) -> dict[str, Any]:
    """Everything measured, as plain numbers and text."""
    return {
        "prompt": made.prompt,
        "seed": made.seed,
        "output": str(job.path),
        "format": job.format,
        "bytes": size,
        "gaussians": len(made.gaussians),
        "preset": pipeline.preset.name,
        "device": pipeline.device.name,
        "background_provider": pipeline.remover.provider,
        "seconds": made.timings,
        "surface": asdict(made.surface) if made.surface else None,
        "quality": asdict(made.quality),
        "fidelity": asdict(made.fidelity) if made.fidelity else None,
    }


def _report_failure(job: _Job, error: MinerError, reporter: Reporter) -> None:
    reporter.note(f"failed: {job.title}: {error}")
    if job.report:
        told = {"prompt": job.title, "error": {"code": error.code, "message": str(error)}}
        result(json.dumps(told, ensure_ascii=False))
