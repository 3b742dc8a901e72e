"""A device that runs out of memory at a chosen byte: the CPU, with its tensors counted."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from miner.gpu.device import Device


@dataclass(frozen=True)
class TightDevice(Device):
    """Counts how often its cache was handed back.

    Attributes:
        limit_bytes: of tensors made while ``counting`` that live at once.
    """

    limit_bytes: int = 1 << 62
    released: list[int] = field(default_factory=list, compare=False)

    def release(self) -> None:
        """Counts."""
        self.released.append(1)

    @contextmanager
    def counting(self) -> Iterator[Count]:
        """Tensors made in the block count; the one that goes over the limit is refused."""
        with Count(self.limit_bytes) as count:
            yield count


class Count(TorchDispatchMode):
    """Live bytes of new storages, and the most there were."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.limit_bytes = limit_bytes
        self.live = self.peak = 0
        self.refused = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        known = {_address(one) for one in tree_leaves((args, kwargs)) if _is_tensor(one)}
        for one in tree_leaves(made):
            if _is_tensor(one) and _address(one) not in known | self._seen:
                self._add(one)
        return made

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        size, address = storage.nbytes(), storage._cdata
        if self.live + size > self.limit_bytes:
            self.refused += 1
            raise torch.OutOfMemoryError(f"a test: {self.live} of {self.limit_bytes} bytes used")
        self.live += size
        self.peak = max(self.peak, self.live)
        self._seen.add(address)
        weakref.finalize(storage, self._gone, size, address)

    def _gone(self, size: int, address: int) -> None:
        self.live -= size
        self._seen.discard(address)


def _is_tensor(one: object) -> bool:
    return isinstance(one, torch.Tensor)


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def tight(limit_bytes: int) -> TightDevice:
    """The CPU with so much memory for new tensors."""
    return TightDevice(torch.device("cpu"), "tight", limit_bytes)
