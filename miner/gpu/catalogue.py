"""What is known of the models: parameters, bytes by precision, peaks. ``config/components.toml``.

Counts and estimates only, nothing is loaded or looked for on disk. A model that is not in the file
has no entry, and the plan says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from miner.errors import ConfigError
from miner.gpu.plan import COMPONENTS, Component, Precision
from miner.settings import Section, TextToImageSettings, config_dir, read_toml

PLAIN_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Of a parameter."""

QUANTISED_BYTES: dict[Precision, float] = {"fp8": 1.0, "int8": 1.0, "nf4": 0.5625}
"""Of a quantised parameter; of nf4 with the scale that 64 of them share."""
ROW_BYTES: dict[Precision, int] = {"fp8": 4, "int8": 4, "nf4": 0}
"""Of the scale of a row of weights."""


class Part(Section):
    """One component of a model; the keys are explained in ``config/components.toml``."""

    model: str
    params: int = Field(ge=0)
    quantised: int = Field(default=0, ge=0)
    block: int = Field(default=0, ge=0)
    rows: int = Field(default=0, ge=0)
    largest: int = Field(default=0, ge=0)
    activation_bytes: int = Field(default=0, ge=0)
    kept_bytes: int = Field(default=0, ge=0)
    rest_width: int = Field(default=2, ge=2, le=4)
    batched: bool = False
    tflop: float = Field(default=0.0, ge=0)
    steps: int = Field(default=0, ge=0)
    native: Precision | None = None
    plain: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
    never_fp16: bool = False
    cpu_seconds: float | None = None

    @property
    def can_have(self) -> frozenset[Precision]:
        """The precisions in which it can be run on some card."""
        small = frozenset(QUANTISED_BYTES) if self.quantised else frozenset()
        return (small | frozenset(self.plain)) - ({"fp16"} if self.never_fp16 else frozenset())

    def weight_bytes(self, precision: Precision) -> int:
        """Bytes of its weights."""
        if precision in PLAIN_BYTES:
            return self.params * PLAIN_BYTES[precision]
        rest = self.params - self.quantised
        small = int(self.quantised * QUANTISED_BYTES[precision]) + self.rows * ROW_BYTES[precision]
        return small + self.rest_width * rest

    def streamed_bytes(self, precision: Precision) -> int:
        """Bytes on the device while it is streamed: a block at work and the next one on its way."""
        per_parameter = self.weight_bytes(precision) / max(1, self.params)
        rest = self.weight_bytes(precision) - int(self.quantised * per_parameter)
        return min(self.weight_bytes(precision), int(2 * self.block * per_parameter) + rest)

    def peak_bytes(self, precision: Precision, pixels: float, batch: int) -> int:
        """Bytes beside the weights while it runs.

        Args:
            precision: fp32 doubles what is computed with; quantised weights are widened to what is
                computed in, a layer at a time.
            pixels: of a picture, over those that the catalogue counted with.
            batch: pictures in one pass.
        """
        width = 4 if precision == "fp32" else self.rest_width
        grown = self.activation_bytes * width / 2 * pixels * (batch if self.batched else 1)
        widened = self.largest * self.rest_width if precision in QUANTISED_BYTES else 0
        return max(int(grown) + widened, self.kept_bytes)


class Model(Section):
    """What the weights under one name hold.

    Attributes:
        parts: by component.
        size_px: of the picture that the figures are for; 0: they are for any.
        paint: settings of the first stage, for a model that may take the place of another.
    """

    parts: dict[Component, Part]
    size_px: int = 0
    paint: dict[str, Any] = Field(default_factory=dict)


Catalogue = dict[str, Model]
"""Models by the name of their weights."""


def load_catalogue(path: Path | None = None) -> Catalogue:
    """The models of ``components.toml``.

    Raises:
        ConfigError: the file is missing, is not TOML or says what it may not; the text names it.
    """
    path = path or config_dir() / "components.toml"
    models = {}
    for name, values in read_toml(path).items():
        try:
            parts = {key: values[key] for key in COMPONENTS if key in values}
            plain = {key: value for key, value in values.items() if key not in parts}
            models[name] = Model(parts=parts, **plain)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"]))
            raise ConfigError(f"{path}: [{name}]: {key}: {first['msg']}") from error
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: {name}: is no table") from error
    return models


def find_model(catalogue: Catalogue, weights: str) -> Model | None:
    """The model behind a reference such as "triposr" or "isnet-general-use/file.onnx"."""
    return catalogue.get(weights) or catalogue.get(weights.partition("/")[0])


def painter_settings(
    own: TextToImageSettings, painter: str, catalogue: Catalogue | None = None
) -> TextToImageSettings:
    """How to call the painter that a plan chose.

    Args:
        own: the preset's; they hold where the plan kept its model, and the template holds always.
        painter: as ``MemoryPlan.painter``.
        catalogue: the shipped one when not given.

    Raises:
        ConfigError: the catalogue does not say how to call it.
    """
    if painter == own.weights:
        return own
    model = (load_catalogue() if catalogue is None else catalogue).get(painter)
    if model is None or not model.paint:
        raise ConfigError(f"components.toml: [{painter}]: does not say how it paints")
    try:
        return TextToImageSettings(template=own.template, **model.paint)
    except (ValidationError, TypeError) as error:
        raise ConfigError(f"components.toml: [{painter}.paint]: {error}") from error
