"""What a memory plan means for the stages after painting, and for the preset's settings."""

from __future__ import annotations

import logging
from collections.abc import Callable

from miner.gpu.catalogue import painter_settings
from miner.gpu.device import Device
from miner.gpu.plan import MemoryPlan
from miner.gpu.weights import WeightStore
from miner.pipeline.residence import Model, Residence
from miner.settings import Preset
from miner.settings.memory import Precision, Residency

NUMBERS: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Of models that are not made smaller by a library, as a preset names them."""

SECTIONS = {
    "triposr": "reconstruct",
    "self_check": "self_check",
    "dreamgaussian": "dreamgaussian",
}
"""Of a preset, by the component whose number type they name."""

log = logging.getLogger(__name__)


def as_planned(preset: Preset, plan: MemoryPlan | None) -> Preset:
    """The preset with the painter and the number types that the plan chose."""
    if plan is None:
        return preset
    changed: dict[str, object] = {}
    painter = painter_settings(preset.text_to_image, plan.painter)
    if painter.weights != preset.text_to_image.weights:
        log.warning("%s paints in place of %s", painter.weights, preset.text_to_image.weights)
        changed["text_to_image"] = painter
    for component, section in SECTIONS.items():
        if plan.uses(component):
            dtype = NUMBERS.get(plan.of(component).precision, "bfloat16")
            changed[section] = getattr(preset, section).model_copy(update={"dtype": dtype})
    return preset.model_copy(update=changed)


def store_of_painter(store: WeightStore, own: str, painter: str) -> WeightStore:
    """Where a painter's weights are; what is said of missing ones names the command that gets them.

    Args:
        store: of the preset.
        own: the preset's painter.
        painter: the one that paints.
    """
    if painter == own:
        return store
    with_smaller = f"{store.preset} --smaller-painters"
    return WeightStore(store.weights_dir, with_smaller, store.manifest)


def planned_bytes(plan: MemoryPlan | None, component: str) -> int:
    """Bytes of a component's weights by the plan; 0 where it says nothing."""
    return plan.of(component).weight_bytes if plan is not None and plan.uses(component) else 0


def place_of_matting(device: Device, plan: MemoryPlan | None) -> tuple[Device | None, int | None]:
    """Where the matting network computes, and the most that its library may take of the device.

    Args:
        device: of the pipeline.
        plan: that may have it computed by the CPU; without one there is no limit.

    Returns:
        None for the CPU, or the device; bytes, or None for no limit.
    """
    if plan is None or not plan.uses("matting"):
        return device, None
    stage = plan.of("matting")
    return (None, None) if stage.residency == "cpu" else (device, stage.peak_bytes)


class Homes:
    """Gives models a place to wait, as the plan says.

    Args:
        device: where they work.
        plan: all are resident without one.
    """

    def __init__(self, device: Device, plan: MemoryPlan | None) -> None:
        self._device = device
        self._plan = plan

    def of(self, component: str, load: Callable[[], Model]) -> Residence[Model]:
        """A model that plays the part of ``component``; loaded now, unless it is loaded late."""
        residency: Residency = "resident"
        if self._plan is not None and self._plan.uses(component):
            residency = self._plan.of(component).residency
        planned = planned_bytes(self._plan, component)
        return Residence(load, residency, 0.0, self._device, name=component, planned_bytes=planned)
