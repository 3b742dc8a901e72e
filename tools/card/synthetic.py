"""A full-size FLUX with random weights, built on the device block by block as a plan says.

No file is written and no network is ever whole in its wide form: a block is given memory on the
device, filled, made small by the code that loads published weights, and moved to where it waits.
So a card can build what it can hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from miner.gpu.device import Device
from miner.gpu.plan import PAINTER_COMPONENTS, Card, MemoryPlan, StagePlan
from miner.gpu.precision_modes import settled_here
from miner.gpu.quantise import QUANTISED, eligible
from miner.pipeline.full_size import Architecture, build
from miner.pipeline.painter_kinds import DENOISER, ENCODERS, VAE, Flux
from miner.pipeline.painter_load import Loaded, pipeline_class
from miner.pipeline.painter_networks import KEPT_PLAIN, Networks, in_precision, number_type
from miner.pipeline.painter_synthetic import (
    SCHNELL,
    letter_clip_tokenizer,
    letter_t5_tokenizer,
)
from miner.pipeline.residence import Residence
from miner.pipeline.text_to_image import TextToImage
from miner.settings import TextToImageSettings
from miner.settings.memory import Precision, Residency

DEVIATION = 0.02
"""Of random weights: that of published ones is of this order."""

KINDS = {
    "text_encoder": ("CLIPTextModel", "clip"),
    "text_encoder_2": ("T5EncoderModel", "t5"),
    "transformer": ("FluxTransformer2DModel", "transformer"),
    "vae": ("AutoencoderKL", "vae"),
}
"""By the network's name in the pipeline: its class, and the name of its sizes."""

Sizes = Mapping[str, Mapping[str, Any]]

TINY: Sizes = {
    "transformer": {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (4, 6, 6),
    },
    "vae": {
        **SCHNELL["vae"],
        "block_out_channels": (32, 32, 32, 32),
        "latent_channels": 4,
        "layers_per_block": 1,
    },
    "clip": {
        **SCHNELL["clip"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    "t5": {**SCHNELL["t5"], "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4},
}


def sizes(tiny: bool, blocks: tuple[int, int, int] | None = None) -> dict[str, dict[str, Any]]:
    """Sizes of FLUX's networks.

    Args:
        tiny: as small as they can be.
        blocks: how many double and single blocks and layers of T5, at full width; all when None.
    """
    if tiny:
        return {name: dict(values) for name, values in TINY.items()}
    full = {name: dict(values) for name, values in SCHNELL.items()}
    if blocks is not None:
        double, single, layers = blocks
        full["transformer"] |= {"num_layers": double, "num_single_layers": single}
        full["t5"] |= {"num_layers": layers}
    return full


def plan_for(
    card: Card,
    encoders: tuple[Precision, Residency],
    denoiser: tuple[Precision, Residency],
    vae: tuple[Precision, Residency],
) -> MemoryPlan:
    """A plan that says where and in which precision the painter's parts are, and nothing more."""
    stages = tuple(
        StagePlan(component, component, *how, 0, 0, None, "as measured")
        for component, how in zip(PAINTER_COMPONENTS, (encoders, denoiser, vae), strict=True)
    )
    return MemoryPlan(card, stages, "flux-schnell", 0, card.free_bytes)


def painter(
    settings: TextToImageSettings, device: Device, plan: MemoryPlan, of: Sizes
) -> TextToImage:
    """A painter with random weights whose parts are where the plan says."""
    settled = {
        part: settled_here(plan.of(part).precision, device) for part in (ENCODERS, DENOISER, VAE)
    }
    pipeline = _bare(settings, device, of)
    residences = {}
    for part, names in Flux.parts.items():
        residency = plan.of(part).residency
        load = partial(_load, pipeline, names, settled[part].precision, device, residency, of)
        residences[part] = Residence(load, residency, 0.0, device, name=part, loads_parked=True)
    family = Flux(pipeline, settings, device.torch_device)
    return TextToImage(pipeline, settings, Loaded(pipeline, device, family, residences, settled))


def _bare(settings: TextToImageSettings, device: Device, of: Sizes) -> Any:
    """A pipeline without networks, which computes on the device."""
    kind = pipeline_class("FluxPipeline")
    there = property(lambda _: device.torch_device)
    ours: Any = type(kind.__name__, (kind,), {"_execution_device": there})
    with torch.device("meta"):
        vae = diffusers.AutoencoderKL(**of["vae"])  # the pipeline takes its scale from it
    made = ours(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=None,
        tokenizer=letter_clip_tokenizer(),
        text_encoder_2=None,
        tokenizer_2=letter_t5_tokenizer(settings.max_sequence_length),
        transformer=None,
    )
    made.vae = None
    return made


def _load(
    pipeline: Any,
    names: Iterable[str],
    precision: Precision,
    device: Device,
    residency: Residency,
    of: Sizes,
) -> Networks:
    """A part's networks, made anew each time, as reading them from disk would be."""
    shapes = {name: Architecture(KINDS[name][0], of[KINDS[name][1]]) for name in names}
    bare = {name: build(shape) for name, shape in shapes.items()}
    dtype = number_type(precision, device, map(type, bare.values()))
    stays = residency == "resident"
    made = {name: fill(one, precision, dtype, device, stays) for name, one in bare.items()}
    return Networks(pipeline, made, device, residency)


def fill(
    network: nn.Module, precision: Precision, dtype: torch.dtype, device: Device, stays: bool
) -> nn.Module:
    """A network without memory gets random weights, its blocks one after the other.

    Args:
        network: on ``meta``.
        precision: settled for this machine.
        dtype: computed in.
        device: that makes and rounds the weights.
        stays: the network is left on the device; otherwise it goes to the host.
    """
    home = device.torch_device if stays else torch.device("cpu")
    small = precision in QUANTISED and type(network).__name__ not in KEPT_PLAIN
    filled: dict[int, nn.Parameter] = {}
    for blocks, name, block in list(_blocks(network)):
        _fill(block, dtype, device.torch_device, filled)  # there it takes a moment, here minutes
        if not small:
            block.to(home)
            continue
        # A block is named as within its network: names at a network's ends say what stays wide.
        holder = in_precision(nn.ModuleDict({"block": block}), precision, dtype, device, True)
        setattr(blocks, name, holder.get_submodule("block").to(home))
    _fill(network, dtype, home, filled)
    wide = [name for name, one in eligible(network).items() if small and type(one) is nn.Linear]
    assert not wide, f"layers outside blocks: {wide}"
    return network


def _blocks(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """The outermost repeated blocks, each with its list and its name there."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            yield from ((child, name, block) for name, block in child.named_children())
        else:
            yield from _blocks(child)


def _fill(
    network: nn.Module, dtype: torch.dtype, place: torch.device, filled: dict[int, nn.Parameter]
) -> None:
    """Memory and numbers for what has none yet; what is shared stays shared through ``filled``."""
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.is_meta:
                if id(parameter) not in filled:
                    made = nn.Parameter(_random(name, parameter, dtype, place), requires_grad=False)
                    made.was = parameter  # type: ignore[attr-defined]  # keeps its id from others
                    filled[id(parameter)] = made
                module._parameters[name] = filled[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = _counted(buffer, place)


def _random(name: str, like: Tensor, dtype: torch.dtype, place: torch.device) -> Tensor:
    """Weights of a small deviation; scales of normalisation are 1 and biases 0."""
    made = torch.empty(like.shape, dtype=dtype, device=place)
    if like.dim() > 1:
        return made.normal_(0, DEVIATION)
    return made.fill_(0.0 if name == "bias" else 1.0)


def _counted(like: Tensor, place: torch.device) -> Tensor:
    """A buffer of positions; others are not known here."""
    assert not like.is_floating_point(), "only positions are known"
    return torch.arange(like.shape[-1], dtype=like.dtype, device=place).expand(like.shape).clone()
