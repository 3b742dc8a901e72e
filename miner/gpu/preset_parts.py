"""Which components a preset uses, and what the catalogue knows of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from miner.gpu.catalogue import Catalogue, Part, find_model
from miner.gpu.plan import COMPONENTS, PAINTER_COMPONENTS, Component, Precision
from miner.settings import Preset, TextToImageSettings, config_dir, read_toml

DTYPES: dict[str, Precision] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def parts_of(
    preset: Preset, paint: TextToImageSettings, catalogue: Catalogue, generators: Collection[str]
) -> tuple[dict[Component, Part], tuple[str, ...]]:
    """The components in use by name, in their order, and the weights nothing is known of.

    Those count as nothing. A ``dtype`` that the preset names becomes the component's own precision.
    Of the generators only those named are in use.

    Raises:
        ConfigError: the rollback generator's configuration cannot be read.
    """
    parts: dict[Component, Part] = {}
    unknown: dict[str, None] = {}
    for name, weights, dtype in _used(preset, paint, generators):
        model = find_model(catalogue, weights)
        part = model.parts.get(name) if model else None
        if part is None:
            unknown[weights] = None
            part = Part(model=weights, params=0)
        if dtype in DTYPES:
            part = part.model_copy(update={"native": DTYPES[dtype]})
        parts[name] = part
    return {name: parts[name] for name in COMPONENTS if name in parts}, tuple(unknown)


def _used(
    preset: Preset, paint: TextToImageSettings, generators: Collection[str]
) -> Iterator[tuple[Component, str, str]]:
    """Component, weights and the ``dtype`` that the preset names for it."""
    for name in PAINTER_COMPONENTS:
        yield name, paint.weights, paint.dtype
    yield "matting", preset.background.weights, "auto"
    if "triposr" in generators:
        yield "triposr", preset.reconstruct.weights, preset.reconstruct.dtype
    if preset.self_check.mode != "off":
        yield "self_check", preset.self_check.weights, preset.self_check.dtype
    if preset.dreamgaussian.config and "dreamgaussian" in generators:
        weights, dtype = _guidance(preset.dreamgaussian.config)
        named = preset.dreamgaussian.dtype
        yield "dreamgaussian", weights, dtype if named == "auto" else named


def _guidance(config: str) -> tuple[str, str]:
    """Weights and number type that a fit's configuration names; the rest is none of the plan's."""
    path = Path(config)
    if not path.is_absolute():
        path = config_dir() / "dreamgaussian" / f"{config}.toml"
    guidance = read_toml(path).get("guidance", {})
    if not isinstance(guidance, dict):
        return "", "auto"
    return str(guidance.get("weights", "")), str(guidance.get("dtype", "auto"))
