"""A memory plan's bytes beside those of the networks themselves, built without memory.

Each network of the preset is built at its full size on torch's ``meta`` device and made small by
the code that loads it, so that a plan can be checked without a card and without weights. A matting
network, which onnxruntime loads, counts with the bytes of its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from miner.dreamgaussian.settings import GuidanceSettings
from miner.errors import ConfigError, WeightsError
from miner.gpu.counted import Count
from miner.gpu.device import Device
from miner.gpu.parking import weight_bytes
from miner.gpu.plan import PAINTER_COMPONENTS, Card, Component, MemoryPlan, StagePlan
from miner.gpu.weights import WeightStore
from miner.pipeline.by_dreamgaussian import fit_settings
from miner.pipeline.full_size import find, projection
from miner.pipeline.painter_kinds import FAMILIES
from miner.pipeline.painter_networks import in_precision, number_type
from miner.pipeline.planned import as_planned
from miner.settings import Preset
from miner.triposr import TripoSR
from miner.triposr.config import TripoSRConfig
from miner.triposr.config_files import load_config


@dataclass(frozen=True)
class PlannedDevice(Device):
    """Torch's device without memory, in the place of a card."""

    planned: Card = field(kw_only=True)

    def card(self) -> Card:
        """The card that was planned for."""
        return self.planned


@dataclass(frozen=True)
class Verifier:
    """Counts the networks of one preset.

    Attributes:
        preset: whose models.
        store: finds those that are on this machine; nothing is hashed.
    """

    preset: Preset
    store: WeightStore

    def counts(self, plan: MemoryPlan) -> Iterator[Count]:
        """One for each component of the plan, in its order.

        Raises:
            WeightsError: a model is not on this machine and its sizes are not known.
            ConfigError: a configuration cannot be read.
        """
        chosen = Verifier(as_planned(self.preset, plan), self.store)
        device = PlannedDevice(torch.device("meta"), "meta", planned=plan.card)
        for stage in plan.stages:
            yield chosen.count(stage, device)

    def count(self, stage: StagePlan, device: Device) -> Count:
        """One component, in the precision of its stage."""
        if stage.component == "matting":
            size, source = self._file()
        else:
            networks, source = self._networks(stage.component)
            dtype = number_type(stage.precision, device, map(type, networks))
            made = (
                in_precision(nn.Module.to(one, dtype), stage.precision, dtype, device, True)
                for one in networks
            )
            size = sum(map(weight_bytes, made))
        return Count(stage.component, stage.precision, source, size, stage.weight_bytes)

    def _networks(self, component: Component) -> tuple[list[nn.Module], str]:
        """In float32 without memory, and where their sizes are from."""
        if component in PAINTER_COMPONENTS:
            paint = self.preset.text_to_image
            family = FAMILIES.get(paint.pipeline)
            if family is None:
                raise ConfigError(f"{paint.pipeline}: its networks are not known by part")
            return self._found(paint.weights, family.parts[component])
        if component == "triposr":
            return self._triposr()
        if component == "self_check":
            return self._found(self.preset.self_check.weights, ("",))
        return self._guidance()

    def _found(self, weights: str, names: tuple[str, ...]) -> tuple[list[nn.Module], str]:
        folder = self._folder(weights)
        return list(find(weights, names, folder).values()), _source(folder)

    def _triposr(self) -> tuple[list[nn.Module], str]:
        folder = self._folder(self.preset.reconstruct.weights)
        config = TripoSRConfig() if folder is None else load_config(folder)
        with torch.device("meta"):
            return [TripoSR(config)], _source(folder)

    def _guidance(self) -> tuple[list[nn.Module], str]:
        keys = fit_settings(self.preset).guidance
        folder = self._folder(keys.weights)
        text = "image_encoder" if keys.kind == "zero123" else "text_encoder"
        found = find(keys.weights, (text, "unet"), folder)
        found |= find(*self._vae_of(keys))
        if keys.kind == "zero123":
            found["projection"] = projection(found[text])
        return list(found.values()), _source(folder)

    def _vae_of(self, keys: GuidanceSettings) -> tuple[str, tuple[str, ...], Path | None]:
        """Arguments of ``find`` for the VAE, which may be another model's."""
        if not keys.vae_weights:
            return keys.weights, ("vae",), self._folder(keys.weights)
        own = self._folder(keys.vae_weights)
        if own is not None and (own / "config.json").is_file():
            return keys.vae_weights, (own.name,), own.parent
        return keys.vae_weights, ("vae",), own

    def _folder(self, weights: str) -> Path | None:
        """Of a model, where it is on this machine."""
        path = self._path(weights)
        return path if path.is_dir() else None

    def _file(self) -> tuple[int, str]:
        """Bytes of the matting network's file, and whether it is here."""
        weights = self.preset.background.weights
        path = self._path(weights)
        if path.is_file():
            return path.stat().st_size, "file"
        entry = self.store.entry(weights)
        if entry is None or not entry.bytes:
            raise WeightsError(f"{weights}: is not on this machine, and its size is not known")
        return entry.bytes, "download"

    def _path(self, weights: str) -> Path:
        entry = self.store.entry(weights)
        if entry is None:
            return Path(weights)
        return entry.root(self.store.weights_dir).joinpath(*Path(weights).parts[1:])


def _source(folder: Path | None) -> str:
    return "published" if folder is None else "folder"
