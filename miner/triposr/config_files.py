"""The configuration on disk: the published ``config.yaml``, and ``vit_config.json`` beside it.

The published file names python classes and refers from section to section; both are resolved here,
and nothing it names is ever imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from miner.errors import ConfigError
from miner.triposr.config import DINO_VITB16, TripoSRConfig, VitConfig

CONFIG_FILE = "config.yaml"
VIT_CONFIG_FILE = "vit_config.json"

CLASSES = {
    "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
    "tokenizer_cls": "tsr.models.tokenizers.triplane.Triplane1DTokenizer",
    "backbone_cls": "tsr.models.transformer.transformer_1d.Transformer1D",
    "post_processor_cls": "tsr.models.network_utils.TriplaneUpsampleNetwork",
    "decoder_cls": "tsr.models.network_utils.NeRFMLP",
    "renderer_cls": "tsr.models.nerf_renderer.TriplaneNeRFRenderer",
}
"""The python paths the published file names. They are compared, never imported."""


def load_config(folder: Path) -> TripoSRConfig:
    """The configuration in ``folder``: ``config.yaml``, and ``vit_config.json`` where there is one.

    Raises:
        ConfigError: a file is missing or malformed, a key is unknown, or sizes disagree.
    """
    path = folder / CONFIG_FILE
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read; put the model's {CONFIG_FILE} there") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML; fetch the file again") from error
    vit_path = folder / VIT_CONFIG_FILE
    vit = _read_json(vit_path) if vit_path.exists() else None
    return parse_config(values, vit, source=str(path))


def parse_config(
    values: object, vit: Mapping[str, Any] | None = None, source: str = CONFIG_FILE
) -> TripoSRConfig:
    """A configuration from the contents of its two files.

    Args:
        values: what ``config.yaml`` holds; references (``${tokenizer.num_channels}``) are resolved.
        vit: what ``vit_config.json`` holds. Only the sizes are read: the file as published also
            holds what matters to training alone. Without it the tokenizer must be DINO ViT-B/16.
        source: named in errors.

    Raises:
        ConfigError: as ``load_config``.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: holds no mapping; fetch the file again")
    sections = {key: _resolve(value, values, source) for key, value in values.items()}
    _take_classes(sections, source)
    if "vit" in sections:
        raise ConfigError(
            f"{source}: vit: unknown key; sizes of the tokenizer go to {VIT_CONFIG_FILE}"
        )
    if vit is not None:
        sections["vit"] = {key: vit[key] for key in VitConfig.model_fields if key in vit}
    name = _tokenizer_name(sections)
    if vit is None and name != DINO_VITB16:
        raise ConfigError(f"{source}: sizes of {name} are not known; add {VIT_CONFIG_FILE}")
    try:
        return TripoSRConfig.model_validate(sections)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(error)}") from error


def write_config(folder: Path, config: TripoSRConfig) -> None:
    """Write both files to ``folder``; ``load_config`` gives back an equal value."""
    sections = config.model_dump(exclude={"vit"})
    published: dict[str, Any] = {"cond_image_size": sections.pop("cond_image_size")}
    for name, section in sections.items():
        published[f"{name}_cls"] = CLASSES[f"{name}_cls"]
        published[name] = section
    vit = {"model_type": "vit", **config.vit.model_dump()}
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(published, sort_keys=False), "utf-8")
    (folder / VIT_CONFIG_FILE).write_text(json.dumps(vit, indent=2) + "\n", "utf-8")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON; fetch the file again") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no mapping; fetch the file again")
    return values


def _tokenizer_name(sections: Mapping[str, Any]) -> object:
    section = sections.get("image_tokenizer")
    section = section if isinstance(section, dict) else {}
    return section.get("pretrained_model_name_or_path", DINO_VITB16)


def _take_classes(sections: dict[str, Any], source: str) -> None:
    """Remove the ``*_cls`` keys after comparing each with the one class that is implemented."""
    for key in [name for name in sections if str(name).endswith("_cls")]:
        value = sections.pop(key)
        if CLASSES.get(key) != value:
            wanted = CLASSES.get(key, "no class at all")
            raise ConfigError(f"{source}: {key}: {value} is not implemented, only {wanted}")


_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def _resolve(value: object, root: Mapping[str, Any], source: str, depth: int = 0) -> object:
    """``value`` with every ``${section.key}`` replaced by what it points at."""
    if isinstance(value, dict):
        return {key: _resolve(item, root, source, depth) for key, item in value.items()}
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    target: object = root
    for key in match[1].split("."):
        target = target.get(key) if isinstance(target, dict) else None
    if target is None or isinstance(target, dict) or depth > 8:
        raise ConfigError(f"{source}: {value} points at nothing")
    return _resolve(target, root, source, depth + 1)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
