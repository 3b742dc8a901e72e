"""Chooses for every component a precision and a residency: the first way that fits.

Pure functions of a card, a preset and the operator's settings. Nothing is loaded, measured or
looked for; what the worker then measures is compared with the plan elsewhere. Bytes and seconds are
estimates. A plan is over its limit only where nothing fits at all, and then says so in a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from miner.errors import DeviceError
from miner.gpu import estimates
from miner.gpu.capability import Installed, assume_installed, computes_in
from miner.gpu.catalogue import Catalogue, Part, find_model, load_catalogue, painter_settings
from miner.gpu.kernels import TORCH_ARCHES, unserved
from miner.gpu.placement import HOST_SHARE, Fit, Setting, fits
from miner.gpu.plan import Card, Component, MemoryPlan, Residency, StagePlan
from miner.gpu.preset_parts import parts_of
from miner.gpu.reasons import Words
from miner.settings import MemorySettings, Preset, RollbackSettings, TextToImageSettings


@dataclass(frozen=True)
class Planner:
    """What plans are made with, whatever the card.

    Attributes:
        preset: which models.
        memory: what the operator wants.
        rollback: which generators, and where the second waits at the nearest.
        installed: whether a library is there.
        catalogue: what is known of the models.
    """

    preset: Preset
    memory: MemorySettings
    rollback: RollbackSettings
    installed: Installed
    catalogue: Catalogue

    def candidates(self, card: Card) -> Iterator[tuple[Setting, Fit]]:
        """Every plan there could be, in the order of preference.

        The operator's wishes are given up before the preset's painter is.
        """
        for paint in self._paints():
            wished = self._setting(card, paint, self.memory)
            free = replace(wished, memory=_without_wishes(self.memory))
            for setting in (wished, free) if free.memory != self.memory else (wished,):
                for fit in fits(setting):
                    yield setting, fit

    def plan(self, card: Card) -> MemoryPlan:
        """The first candidate that fits, or the smallest."""
        every = list(self.candidates(card))
        found = next((one for one in every if one[1].has_room(one[0])), None)
        setting, fit = found or _smallest(every)
        own = self._setting(card, self.preset.text_to_image, self.memory)
        words = Words(own, setting, fit)
        return MemoryPlan(
            card=card,
            stages=tuple(_stage(setting, fit, name, words) for name in setting.parts),
            painter=setting.paint.weights,
            peak_bytes=fit.peak_bytes,
            limit_bytes=setting.limit_bytes,
            warnings=tuple(words.warnings()),
        )

    def _paints(self) -> Iterator[TextToImageSettings]:
        """The preset's painter, then those that may take its place."""
        own = self.preset.text_to_image
        yield own
        if self.memory.allow_smaller_painter:
            for name in self.memory.smaller_painters:
                if name != own.weights and self._is_smaller(name, own.weights):
                    yield painter_settings(own, name, self.catalogue)

    def _is_smaller(self, name: str, own: str) -> bool:
        """Whether a painter has fewer parameters; one of unknown size counts as small already."""
        sizes = [
            sum(part.params for part in model.parts.values()) if model else 0
            for model in (find_model(self.catalogue, name), find_model(self.catalogue, own))
        ]
        return sizes[0] < sizes[1]

    def _setting(self, card: Card, paint: TextToImageSettings, memory: MemorySettings) -> Setting:
        names, nearest = self.rollback.names, self.rollback.residency
        found, unknown = parts_of(self.preset, paint, self.catalogue, names)
        parts = {name: _on(card, part) for name, part in found.items()}
        waits: Residency = "resident" if names[0] == "dreamgaussian" else nearest
        model = find_model(self.catalogue, paint.weights)
        pixels = (paint.size_px / model.size_px) ** 2 if model and model.size_px else 1.0
        return Setting(card, memory, paint, parts, unknown, pixels, self.installed, waits)


def make_plan(
    card: Card,
    preset: Preset,
    memory: MemorySettings | None = None,
    *,
    rollback: RollbackSettings | None = None,
    installed: Installed = assume_installed,
    catalogue: Catalogue | None = None,
    arches: Sequence[str] = TORCH_ARCHES,
) -> MemoryPlan:
    """The best plan that fits.

    Args:
        card: what there is.
        preset: which models.
        memory: what the operator wants; the preset's section when not given.
        rollback: which generators, and where the second waits at the nearest; the defaults when
            not given.
        installed: whether a library is there; all are when not given.
        catalogue: what is known of the models; the shipped file when not given.
        arches: that torch has kernels for; those of its stock wheels when not given.

    Raises:
        DeviceError: torch has no kernels for the card; the text says what to install.
        ConfigError: the catalogue cannot be read, or knows nothing of a smaller painter named.
    """
    if reason := unserved(card, arches):
        raise DeviceError(f"{card.name}: {reason}")
    memory = preset.memory if memory is None else memory
    catalogue = load_catalogue() if catalogue is None else catalogue
    rollback = RollbackSettings() if rollback is None else rollback
    return Planner(preset, memory, rollback, installed, catalogue).plan(card)


def _on(card: Card, part: Part) -> Part:
    """The part with the width of what is not quantised, where the card has no two-byte type."""
    wide = part.quantised and computes_in(card, part.never_fp16) == "fp32"
    return part.model_copy(update={"rest_width": 4}) if wide else part


def _without_wishes(memory: MemorySettings) -> MemorySettings:
    return memory.model_copy(update={"precision": "auto", "precision_of": {}, "residency_of": {}})


def _smallest(every: list[tuple[Setting, Fit]]) -> tuple[Setting, Fit]:
    """The lowest peak of those that the host's memory holds, or of all."""
    held = [one for one in every if one[1].host_bytes <= one[0].card.host_bytes * HOST_SHARE]
    return min(held or every, key=lambda one: one[1].peak_bytes)


def _stage(setting: Setting, fit: Fit, name: Component, words: Words) -> StagePlan:
    part, rung = setting.parts[name], fit.rung
    precision, residency = rung.precision[name], rung.residency[name]
    return StagePlan(
        component=name,
        model=part.model,
        precision=precision,
        residency=residency,
        weight_bytes=part.weight_bytes(precision),
        peak_bytes=setting.running_bytes(rung, name),
        seconds=estimates.seconds(
            part, setting.card, precision, residency, setting.paint.steps, setting.pixels
        ),
        reason=words.reason(name),
        kept_bytes=part.kept_bytes if residency == "resident" else 0,
    )
