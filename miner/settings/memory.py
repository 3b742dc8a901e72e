"""Settings of the memory plan: what ``gpu/planner.py`` may choose, and what is chosen for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from miner.settings.section import Section

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8", "nf4"]
"""int8 and fp8: weights in one byte with a scale for each row, computed in bf16; fp8 is e4m3, which
is rougher than int8. nf4: weights in four bits, by bitsandbytes."""

PrecisionMode = Literal["auto", "fp32", "fp16", "bf16", "fp8", "int8", "nf4"]

Residency = Literal["resident", "host", "streamed", "segmented", "disk", "cpu"]
"""Where a part waits.

resident: on the device. host: in the machine's memory, moved whole when used. streamed: in the
machine's memory, moved block by block while it runs. segmented: loaded, run and unloaded around its
use. disk: loaded when first used. cpu: computed by the CPU, nothing of it on the device.
"""

Component = Literal[
    "text_encoders", "transformer", "vae", "matting", "triposr", "self_check", "dreamgaussian"
]

MAX_BYTES = 1 << 50


class MemorySettings(Section):
    """What the plan keeps to.

    Attributes:
        precision: for all components that can have it; ``auto`` chooses for each.
        precision_of: for single components, before ``precision``.
        residency_of: for single components; the others are chosen.
        reserve_bytes: left free on the device, for the libraries' workspaces and for fragments; 0
            is 256 MiB and a twenty-second of the whole.
        limit_bytes: the plan takes no more, whatever the device has; 0 is all but the reserve.
        allow_smaller_painter: whether another text-to-image model may be taken where the preset's
            fits in no way.
        smaller_painters: which, the first that fits: entries of ``config/components.toml``.
    """

    precision: PrecisionMode = "auto"
    precision_of: dict[Component, Precision] = Field(default_factory=dict)
    residency_of: dict[Component, Residency] = Field(default_factory=dict)
    reserve_bytes: int = Field(default=0, ge=0, le=MAX_BYTES)
    limit_bytes: int = Field(default=0, ge=0, le=MAX_BYTES)
    allow_smaller_painter: bool = True
    smaller_painters: tuple[Annotated[str, Field(min_length=1)], ...] = ("stable-diffusion-1.5",)

    @model_validator(mode="after")
    def _check(self) -> MemorySettings:
        for component, residency in self.residency_of.items():
            if residency not in RESIDENCIES_OF.get(component, DEFAULT_RESIDENCIES):
                raise ValueError(f"residency_of: {component} cannot be {residency}")
        return self


DEFAULT_RESIDENCIES: tuple[Residency, ...] = ("resident", "host", "segmented", "disk")
RESIDENCIES_OF: dict[Component, tuple[Residency, ...]] = {
    "text_encoders": ("resident", "host", "streamed", "segmented"),
    "transformer": ("resident", "host", "streamed", "segmented"),
    "vae": ("resident", "host", "segmented"),
    "matting": ("resident", "segmented", "cpu"),
    "dreamgaussian": ("resident", "host", "disk"),
}
"""What each component can do; those not named, ``DEFAULT_RESIDENCIES``."""
