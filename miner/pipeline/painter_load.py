"""Puts a painter together as the memory plan says, each part in its precision and residency."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers.utils import logging as transformers_logging

from miner.errors import ConfigError
from miner.gpu.capability import Settled
from miner.gpu.device import Device
from miner.gpu.plan import MemoryPlan, StagePlan
from miner.gpu.precision_modes import settled_here
from miner.pipeline.faster import compile_blocks, convolutions_channels_last
from miner.pipeline.painter_kinds import DENOISER, ENCODERS, FAMILIES, VAE, Family
from miner.pipeline.painter_networks import Networks, read_networks
from miner.pipeline.planned import planned_bytes
from miner.pipeline.residence import LOADED_LATE, Residence
from miner.settings import TextToImageSettings
from miner.settings.memory import Precision, Residency

PARTS = (ENCODERS, DENOISER, VAE)
UNUSED = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
"""Of some pipelines: they judge or read pictures, and nobody asks for either."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartPlan:
    """How one part is loaded."""

    precision: Precision
    residency: Residency = "resident"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A painter's pipeline, how to call it, and its parts where they wait.

    Attributes:
        pipeline: of diffusers; the networks hang on it while they are loaded.
        residences: by part.
        settled: precisions that could be had, by part.
    """

    pipeline: Any
    device: Device
    family: Family
    residences: Mapping[str, Residence[Networks]]
    settled: Mapping[str, Settled]


def load_parts(
    folder: Path, settings: TextToImageSettings, device: Device, plan: MemoryPlan | None
) -> Loaded:
    """The painter in ``folder``, of a family that is known.

    Raises:
        WeightsError: a network's folder does not say what it is.
        ConfigError: diffusers has no pipeline class of the preset's name.
    """
    wanted = {part: _wanted(part, settings, device, plan) for part in PARTS}
    settled = {part: settled_here(one.precision, device) for part, one in wanted.items()}
    for part, found in settled.items():
        for reason in found.reasons:
            log.warning("%s in %s instead: %s", part, found.precision, reason)
    names = FAMILIES[settings.pipeline].parts
    vae = read_networks(folder, names[VAE], settled[VAE].precision, device)
    pipeline = _bare_pipeline(folder, settings, device, names, vae["vae"])
    residences = {}
    for part in PARTS:
        residency = wanted[part].residency
        first = vae if part == VAE and residency not in LOADED_LATE else None
        read = partial(
            read_networks, folder, names[part], settled[part].precision, device, residency
        )
        load = partial(
            _load, pipeline, read, device, residency, first, _faster(settings, device, residency)
        )
        planned = planned_bytes(plan, part)
        residences[part] = Residence(
            load, residency, 0.0, device, name=part, loads_parked=True, planned_bytes=planned
        )
    del vae
    if residences[VAE].residency in LOADED_LATE:
        pipeline.vae = None
    family = FAMILIES[settings.pipeline](pipeline, settings, device.torch_device)
    return Loaded(pipeline, device, family, residences, settled)


def all_resident(pipeline: Any, settings: TextToImageSettings, device: Device) -> Loaded:
    """A whole pipeline that is on its device already, in parts that stay there."""
    family = FAMILIES[type(pipeline).__name__](pipeline, settings, device.torch_device)
    residences = {}
    for part, names in family.parts.items():
        networks = Networks(pipeline, {name: getattr(pipeline, name) for name in names}, device)
        residences[part] = Residence(partial(_itself, networks), "resident", 0.0, device)
    return Loaded(pipeline, device, family, residences, {})


def pipeline_class(name: str) -> Any:
    """A pipeline of diffusers by its name.

    Raises:
        ConfigError: there is none.
    """
    # Before diffusers looks up its classes, which makes transformers tell of what it lacks.
    transformers_logging.set_verbosity_error()
    kind = getattr(diffusers, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise ConfigError(f"text_to_image.pipeline: diffusers has no pipeline {name!r}")
    diffusers_logging.set_verbosity_error()  # it tells of every prompt that it cuts short
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    return kind


def settled_plan(plan: MemoryPlan, settled: Mapping[str, Settled]) -> MemoryPlan:
    """The plan with the precisions that could really be had."""

    def as_loaded(stage: StagePlan) -> StagePlan:
        found = settled.get(stage.component)
        if found is None or not found.reasons:
            return stage
        reason = f"{stage.reason}; {'; '.join(found.reasons)}"
        return replace(stage, precision=found.precision, reason=reason)

    more = tuple(
        f"{part}: {reason}, so {found.precision}"
        for part, found in settled.items()
        for reason in found.reasons
    )
    stages = tuple(map(as_loaded, plan.stages))
    return replace(plan, stages=stages, warnings=(*plan.warnings, *more))


def _wanted(
    part: str, settings: TextToImageSettings, device: Device, plan: MemoryPlan | None
) -> PartPlan:
    """As the plan says; without one resident, in the preset's number type."""
    if plan is not None and plan.uses(part):
        stage = plan.of(part)
        return PartPlan(stage.precision, stage.residency)
    names: dict[str, Precision] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
    on_device: Precision = "bf16" if device.is_cuda else "fp32"
    return PartPlan(names.get(settings.dtype, on_device))


def _bare_pipeline(
    folder: Path,
    settings: TextToImageSettings,
    device: Device,
    names: Mapping[str, tuple[str, ...]],
    vae: Any,
) -> Any:
    """The pipeline with its tokenizers, scheduler and VAE, without other networks.

    It computes on the device whatever it holds at the time, where diffusers would ask the networks.
    """
    kind = pipeline_class(settings.pipeline)
    there = property(lambda _: device.torch_device)
    ours: Any = type(kind.__name__, (kind,), {"_execution_device": there})
    known = inspect.signature(kind.__init__).parameters
    without = dict.fromkeys(name for part in names.values() for name in part) | UNUSED
    given = {name: None for name in without if name in known} | {"vae": vae}
    if "requires_safety_checker" in known:
        given["requires_safety_checker"] = False
    pipeline = ours.from_pretrained(folder, local_files_only=True, **given)
    if settings.scheduler == "dpmsolver++":
        pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
            pipeline.scheduler.config, algorithm_type="dpmsolver++"
        )
    return pipeline


def _load(
    pipeline: Any,
    read: Callable[[], dict[str, nn.Module]],
    device: Device,
    residency: Residency,
    first: dict[str, nn.Module] | None,
    prepare: Callable[[nn.Module], None],
) -> Networks:
    networks = first or read()
    for network in networks.values():
        prepare(network)
    return Networks(pipeline, networks, device, residency)


def _faster(
    settings: TextToImageSettings, device: Device, residency: Residency
) -> Callable[[nn.Module], None]:
    """What the settings have done to a network that was read, before it is moved."""

    def prepare(network: nn.Module) -> None:
        if settings.channels_last and device.is_cuda:
            convolutions_channels_last(network)
        if settings.compile and device.is_cuda and residency == "resident":
            compile_blocks(network)

    return prepare


def _itself(networks: Networks) -> Networks:
    return networks
