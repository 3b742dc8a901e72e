"""The networks of one part of a painter: read from disk as the plan says, and moved together.

They hang on the diffusers pipeline while they are loaded and are gone from it afterwards, so that
nothing else keeps them in memory.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.hooks import apply_group_offloading
from torch import nn

from miner.errors import WeightsError
from miner.gpu.device import Device
from miner.gpu.parking import Parking, pin, weight_bytes
from miner.gpu.precision_modes import compute_dtype
from miner.gpu.quantise import QUANTISED, make_small
from miner.pipeline.residence import LOADED_LATE
from miner.settings.memory import Precision, Residency

KEPT_PLAIN = ("CLIPTextModel", "AutoencoderKL")
"""Classes that are not made smaller: they would lose more than they save."""

NEVER_FP16 = ("T5EncoderModel",)
"""Classes whose activations overflow in it: on cards without bf16 they compute in single precision,
whatever their weights are stored in."""

log = logging.getLogger(__name__)


class Networks:
    """The loaded networks of a part; implements ``Parkable``.

    Args:
        pipeline: whose attributes they are.
        networks: by attribute, on the host, or on the device where a library put them there.
        device: where they work.
        residency: of the part; what is streamed is moved block by block as it runs, and ``wake``
            does nothing.
    """

    def __init__(
        self,
        pipeline: Any,
        networks: Mapping[str, nn.Module],
        device: Device,
        residency: Residency = "resident",
    ) -> None:
        self._pipeline = pipeline
        self._networks = dict(networks)
        self._dropped_after_use = residency in LOADED_LATE
        self._parking: Parking | None = None
        for name, network in networks.items():
            network.eval().requires_grad_(False)
            setattr(pipeline, name, network)
            if residency == "streamed":
                stream(network, device)
        if residency != "streamed":
            self._parking = Parking(list(networks.values()), device, residency == "host")

    @property
    def bytes(self) -> int:
        """Of their weights."""
        return sum(map(weight_bytes, self._networks.values()))

    def wake(self) -> None:
        """To the device."""
        if self._parking is not None:
            self._parking.wake()

    def park(self) -> None:
        """To the host's memory."""
        if self._parking is not None:
            self._parking.park()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """For the time in which they run; what is loaded anew each time is let go of after it.

        Whoever still holds this object then holds no memory by it.
        """
        try:
            yield
        finally:
            if self._dropped_after_use:
                for name in self._networks:
                    setattr(self._pipeline, name, None)
                self._networks, self._parking = {}, None


def read_networks(
    folder: Path,
    names: Sequence[str],
    precision: Precision,
    device: Device,
    residency: Residency = "resident",
) -> dict[str, nn.Module]:
    """The networks of one part, by name, from a folder in the diffusers layout.

    Where one of them cannot compute in fp16 none of them does: a part has one number type.

    Args:
        folder: of the whole pipeline.
        names: of the networks' folders in it.
        precision: settled for this machine.
        device: that will compute.
        residency: quantised layers of a resident part are left on the device, others come back to
            the host; what is not quantised is on the host in either case.

    Raises:
        WeightsError: a folder does not say what is in it.
    """
    kinds = {name: kind_of(folder / name) for name in names}
    dtype = number_type(precision, device, kinds.values())
    stays = residency == "resident"
    networks = {}
    for name, kind in kinds.items():
        network = kind.from_pretrained(folder / name, dtype=dtype, local_files_only=True)
        networks[name] = in_precision(network, precision, dtype, device, stays)
    return networks


def number_type(precision: Precision, device: Device, kinds: Iterable[type]) -> torch.dtype:
    """What the networks of a part compute in: float32 where one of them overflows in float16."""
    dtype = compute_dtype(precision, device)
    overflows = any(kind.__name__ in NEVER_FP16 for kind in kinds)
    return torch.float32 if dtype == torch.float16 and overflows else dtype


def in_precision(
    network: nn.Module, precision: Precision, dtype: torch.dtype, device: Device, stays: bool
) -> nn.Module:
    """The network, its large layers quantised where the precision says so and its class allows.

    Args:
        network: read or built in ``dtype``.
        precision: settled for this machine.
        dtype: computed in.
        device: that rounds the weights.
        stays: whether rounded layers are left on the device.
    """
    if precision in QUANTISED and type(network).__name__ not in KEPT_PLAIN:
        make_small(network, precision, dtype, device, stays)
    return network


def stream(network: nn.Module, device: Device) -> None:
    """Has a network's blocks come to the device one after the other as it runs.

    On CUDA the next block travels while one computes, from memory that is pinned once where the
    host can spare it. T5 hides its blocks one level further down.
    """
    inner = getattr(network, "encoder", None)
    blocks_in = inner if isinstance(inner, nn.Module) and hasattr(inner, "block") else network
    pin(network, device)
    apply_group_offloading(
        blocks_in,
        onload_device=device.torch_device,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.is_cuda,
        non_blocking=device.is_cuda,
        low_cpu_mem_usage=True,  # what is not pinned yet is pinned a block at a time, as it runs
    )


def kind_of(folder: Path) -> Any:
    """The class of diffusers or transformers that reads a network's folder.

    Raises:
        WeightsError: the folder does not say what is in it, or nothing of that name is known.
    """
    path = folder / "config.json"
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    library = "diffusers" if "_class_name" in config else "transformers"
    name = config.get("_class_name") or next(iter(config.get("architectures") or []), "")
    kind = class_of(str(name), library)
    if kind is None:
        raise WeightsError(f"{path}: {library} has no network {name!r}")
    return kind


def class_of(name: str, library: str) -> Any:
    """A class of diffusers or transformers by its name; None where there is none."""
    return getattr(importlib.import_module(library), name, None)
