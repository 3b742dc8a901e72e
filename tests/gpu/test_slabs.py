"""Slabs: tensors of any type and layout in few blocks of memory, unchanged wherever they are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miner.gpu import slabs
from miner.gpu.slabs import ALIGNMENT, Place, Slab, aligned, pack, pinned_bytes

TYPES = [torch.int8, torch.bfloat16, torch.float32, torch.uint8, torch.float8_e4m3fn]
CPU = torch.device("cpu")


def holder(*tensors: torch.Tensor) -> tuple[SimpleNamespace, list[Place]]:
    """Something that holds tensors, and where."""
    owner = SimpleNamespace(**{f"t{number}": tensor for number, tensor in enumerate(tensors)})
    return owner, [Place(owner, name) for name in vars(owner)]


@given(
    shapes=st.lists(
        st.tuples(
            st.lists(st.integers(0, 5), max_size=4),
            st.sampled_from(TYPES),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_tensors_come_out_as_they_went_in(
    shapes: list[tuple[list[int], torch.dtype, bool]],
) -> None:
    """Values, types, shapes, and the order of dimensions of pictures, after any way there and back;
    every tensor begins where a device wants it."""
    made = []
    for number, (shape, dtype, last) in enumerate(shapes):
        tensor = (torch.arange(torch.Size(shape).numel()) + number).reshape(shape).to(dtype)
        channels_last = last and tensor.dim() == 4
        made.append(
            tensor.contiguous(memory_format=torch.channels_last) if channels_last else tensor
        )
    owner, places = holder(*made)
    slab = Slab(places, pinned=False)
    for move in (lambda: None, lambda: slab.to(CPU), slab.back):
        move()
        for number, before in enumerate(made):
            after = getattr(owner, f"t{number}")
            assert (after.dtype, after.shape) == (before.dtype, before.shape)
            assert torch.equal(after.float(), before.float())
            if before.numel():
                assert after.stride() == before.stride()
            assert (after.storage_offset() * after.element_size()) % ALIGNMENT == 0


def test_a_slab_is_one_block() -> None:
    """All tensors of a slab share one piece of memory, so that one transfer brings them."""
    owner, places = holder(torch.ones(3), torch.ones(5, dtype=torch.int8), torch.ones(2, 2))
    Slab(places, pinned=False)

    assert len({tensor.untyped_storage().data_ptr() for tensor in vars(owner).values()}) == 1


def test_a_slab_is_full_before_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors keep their order; what is larger than a slab has one of its own."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", 4 * ALIGNMENT)
    sizes = [1, 2, 1, 9, 3, 1, 1]
    tensors = [torch.zeros(size * ALIGNMENT, dtype=torch.uint8) for size in sizes]
    owner, places = holder(*tensors)
    made = pack(places, pinned=False)
    blocks = [tensor.untyped_storage().data_ptr() for tensor in vars(owner).values()]

    assert len(made) == len(set(blocks)) == 4
    assert [blocks.index(block) for block in blocks] == [0, 0, 0, 3, 4, 4, 6]
    assert [aligned(tensor) for tensor in tensors] == [size * ALIGNMENT for size in sizes]


def test_what_is_locked_is_a_power_of_two_for_each_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch rounds each up; the sum is known before anything is pinned."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", 4 * ALIGNMENT)
    tensors = [torch.zeros(size * ALIGNMENT, dtype=torch.uint8) for size in (3, 3, 1, 9)]
    _, places = holder(*tensors)

    assert pinned_bytes(places) == (4 + 4 + 16) * ALIGNMENT
    assert pinned_bytes([]) == 0


def test_nothing_makes_no_slab() -> None:
    """A network without weights needs no memory."""
    assert pack([], pinned=False) == []
