"""Settings: frozen values, built once, validated once, passed down in the pieces needed.

A value comes from the first of: the command line, the environment, the preset's file, the default
written here. ``MINER_PRESET``, ``MINER_DEVICE`` and ``MINER_WEIGHTS`` choose the preset, the device
and the folder of the weights; ``MINER_<SECTION>__<KEY>`` overrides one key of the preset, as in
``MINER_TEXT_TO_IMAGE__STEPS=2``. This file is the only one that touches the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from miner.errors import ConfigError

PACKAGE_DIR = Path(__file__).resolve().parent
PREFIX = "MINER_"
MIN_GAUSSIANS, MAX_GAUSSIANS = 7_000, 500_000
FEW_STEP_PIPELINE = "FluxPipeline"


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TextToImageSettings(Section):
    """The first stage: a prompt becomes a picture.

    Attributes:
        weights: a folder in the diffusers layout, as ``gpu/weights.py`` finds it.
        pipeline: the diffusers pipeline class that reads the folder.
        template: what the model is told; ``{prompt}`` is replaced by the caller's words.
        lowercase: for models whose tokenizers know small letters only.
        size_px: side of the square picture.
        max_sequence_length: text tokens, passed on where the pipeline knows the word.
        batch_size: prompts painted in one pass at most.
        dtype: ``auto`` is bfloat16 on CUDA and float32 on the CPU.
    """

    weights: str
    pipeline: str = FEW_STEP_PIPELINE
    template: str = "{prompt}"
    lowercase: bool = False
    steps: int = Field(default=3, ge=1, le=100)
    guidance_scale: float = Field(default=0.0, ge=0, le=50)
    size_px: int = Field(default=512, ge=16, le=2048)
    max_sequence_length: int = Field(default=256, ge=1, le=512)
    batch_size: int = Field(default=4, ge=1, le=64)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @model_validator(mode="after")
    def _check(self) -> TextToImageSettings:
        if self.pipeline == FEW_STEP_PIPELINE and self.steps > 4:
            raise ValueError("steps: the distilled FLUX takes 1 to 4 steps")
        if self.template.count("{prompt}") != 1:
            raise ValueError("template: must hold {prompt} exactly once")
        return self


class BackgroundSettings(Section):
    """The second stage: the object is cut out and framed.

    Attributes:
        weights: an ONNX file, as ``gpu/weights.py`` finds it.
        model: the rembg model, always named: rembg's own default may not be used commercially.
        output: what the network's first output holds, to tell an empty mask from a faint one.
        foreground_ratio: side of the object over the side of the framed picture.
        smallest_share: islands smaller than this share of the largest one are dropped.
    """

    weights: str
    model: str
    output: Literal["probability", "logit"] = "probability"
    foreground_ratio: float = Field(default=0.85, gt=0.1, le=1)
    smallest_share: float = Field(default=0.02, ge=0, le=1)


class ReconstructSettings(Section):
    """The third stage: a framed picture becomes a field.

    Attributes:
        weights: a TripoSR folder, as ``gpu/weights.py`` finds it.
        dtype: ``auto`` is float32 everywhere: the model is small beside the first stage.
    """

    weights: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class SurfaceKeys(Section):
    """The fourth stage: the field becomes Gaussians; the keys of ``SurfaceSettings`` to choose.

    Attributes:
        count: how many Gaussians to place; the bounds are those of a valid asset.
        threshold: activated density at the surface.
        resolution: cells of the finest grid along each side of the field.
        base_resolution: cells of the coarsest grid.
        island_share: parts of less than this share of the surface are left out; 0 keeps all.
    """

    count: int = Field(default=40_000, ge=MIN_GAUSSIANS, le=MAX_GAUSSIANS)
    threshold: float = Field(default=25.0, gt=0)
    resolution: int = Field(default=256, ge=32, le=1024)
    base_resolution: int = Field(default=64, ge=16, le=256)
    island_share: float = Field(default=0.01, ge=0, le=0.5)


class Preset(Section):
    """One complete choice of models and of how they are run: a file under ``config/presets``."""

    name: str
    description: str = ""
    text_to_image: TextToImageSettings
    background: BackgroundSettings
    reconstruct: ReconstructSettings
    surface: SurfaceKeys = SurfaceKeys()


class Settings(Section):
    """Everything a command needs to know before it builds a pipeline."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    weights: Path
    preset: Preset


def config_dir() -> Path:
    """The folder ``config``: inside an installed package, beside the package in a checkout."""
    installed = PACKAGE_DIR / "config"
    return installed if installed.is_dir() else PACKAGE_DIR.parent / "config"


def preset_names() -> list[str]:
    """The presets that ship with the program, sorted."""
    return sorted(path.stem for path in (config_dir() / "presets").glob("*.toml"))


def load_settings(
    preset: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this run.

    Args:
        preset: name of a preset, or path of a preset file ending in ``.toml``.
        flags: what the command line says, in the shape of ``Settings``; ``None`` values are absent.
        environ: the environment to read; the process's own when not given.

    Raises:
        ConfigError: an unknown preset or key, or a value out of its range; the text names the key.
    """
    environ = os.environ if environ is None else environ
    env = _from_environment(environ)
    name = preset or env.pop("preset", "mini")
    env.pop("preset", None)
    values: dict[str, Any] = {"weights": str(_default_weights(environ))}
    values |= {key: env.pop(key) for key in ("device", "weights") if key in env}
    values["preset"] = _merge({"name": Path(name).stem, **_read_preset(name)}, env)
    return _validate(Settings, _merge(values, flags or {}), f"preset {name}")


def let_idle_threads_sleep() -> None:
    """Threads that wait for others give up their core, unless the environment says otherwise.

    OpenMP's threads wait in a busy loop. Where another process wants the core, each waits for one
    that cannot run: two commands at once on two cores took eight to twenty times as long. Sleeping
    costs a fifth at most when alone. OpenMP reads the variable as torch loads it: call this before.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def _read_preset(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        return read_toml(Path(name))
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; there are: {', '.join(preset_names())}")
    return read_toml(config_dir() / "presets" / f"{name}.toml")


def _default_weights(environ: Mapping[str, str]) -> Path:
    """Where the XDG base directory specification puts a program's data."""
    data = environ.get("XDG_DATA_HOME", "")
    root = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return root / "splat-miner" / "weights"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Nested values of the variables with our prefix, as text: pydantic turns it into numbers."""
    values: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not key and section not in ("preset", "device", "weights"):
            raise ConfigError(f"{variable}: no such setting; unset it or mend its name")
        values = _merge(values, {section: {key: text} if key else text})
    return values


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` laid over it, section by section; None is absent."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            beneath = merged.get(key, {})
            merged[key] = _merge(beneath if isinstance(beneath, Mapping) else {}, value)
        elif value is not None:
            merged[key] = value
    return merged


def _validate(model: type[Settings], values: Mapping[str, Any], source: str) -> Settings:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]).removeprefix("preset.")
        raise ConfigError(f"{source}: {key}: {first['msg']}") from error
