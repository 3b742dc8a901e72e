"""Tensors packed into few large blocks of host memory, so that they are pinned and copied together.

torch rounds every pinned block up to a power of two, and making one takes the driver milliseconds:
thousands of single tensors would lock up to twice their size. A slab is nearly a power of two: it
ends where the next tensor does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SLAB_BYTES = 256 << 20
"""Larger than the largest weight of FLUX in two bytes (113 MB), small beside a whole network."""
ALIGNMENT = 256
"""Of each tensor in its slab: what CUDA's own allocations have."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a tensor is held: ``owner.name``."""

    owner: Any
    name: str

    @property
    def tensor(self) -> Tensor:
        """The tensor that is there now."""
        found: Tensor = getattr(self.owner, self.name)
        return found

    def put(self, tensor: Tensor) -> None:
        """Has the owner hold this tensor."""
        setattr(self.owner, self.name, tensor)


class Slab:
    """One block of host memory and the tensors in it.

    Args:
        places: of tensors that fit together in it; they are copied, and held from here afterwards.
        pinned: whether the block is page-locked, which needs CUDA.
    """

    def __init__(self, places: Iterable[Place], pinned: bool) -> None:
        self._entries: list[tuple[Place, int, torch.dtype, tuple[int, ...], tuple[int, ...]]] = []
        size, found = 0, [(place, _dense(place.tensor)) for place in places]
        for place, tensor in found:
            entry = (place, size, tensor.dtype, tuple(tensor.shape), tensor.stride())
            self._entries.append(entry)
            size += aligned(tensor)
        self._host = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        for (_, view), (place, tensor) in zip(self._views(self._host), found, strict=True):
            view.copy_(tensor)
            place.put(view)

    def to(self, device: torch.device) -> None:
        """Has the owners hold a copy on the device, made in one transfer that may still run."""
        self._put(self._host.to(device, non_blocking=True))

    def back(self) -> None:
        """Has the owners hold the host's tensors again; nothing is copied."""
        self._put(self._host)

    def _put(self, block: Tensor) -> None:
        for place, view in self._views(block):
            place.put(view)

    def _views(self, block: Tensor) -> Iterator[tuple[Place, Tensor]]:
        for place, start, dtype, shape, stride in self._entries:
            count = torch.Size(shape).numel()
            flat = block[start : start + count * dtype.itemsize].view(dtype)
            yield place, flat.as_strided(shape, stride)


def aligned(tensor: Tensor) -> int:
    """Bytes of a tensor in a slab."""
    size = tensor.numel() * tensor.element_size()
    return -(-size // ALIGNMENT) * ALIGNMENT


def pack(places: Iterable[Place], pinned: bool) -> list[Slab]:
    """All tensors in slabs, in their order.

    A tensor larger than ``SLAB_BYTES`` has a slab of its own. Each slab is filled before the next
    one is made, so that no more than one slab's tensors are in memory twice.
    """
    return [Slab(group, pinned) for group in _groups(places)]


def pinned_bytes(places: Iterable[Place]) -> int:
    """What torch locks for the slabs of these tensors: each rounded up to a power of two."""
    sizes = (sum(aligned(place.tensor) for place in group) for group in _groups(places))
    return sum(1 << (size - 1).bit_length() for size in sizes if size)


def _groups(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Tensors that share a slab, in their order."""
    group, size = list[Place](), 0
    for place in places:
        more = aligned(place.tensor)
        if group and size + more > SLAB_BYTES:
            yield group
            group, size = [], 0
        group.append(place)
        size += more
    if group:
        yield group


def _dense(tensor: Tensor) -> Tensor:
    """The tensor in memory without gaps, in its own order of dimensions where it has one."""
    tensor = tensor.detach()
    for layout in (torch.contiguous_format, torch.channels_last):
        if (layout == torch.contiguous_format or tensor.dim() == 4) and tensor.is_contiguous(
            memory_format=layout
        ):
            return tensor
    return tensor.contiguous()
