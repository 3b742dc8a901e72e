"""How long the stages of a plan may take: estimates, to compare plans by, never measured here.

Half of what a usual card of that compute capability reaches in large matrix products, and transfers
at the pace that published measurements of the same libraries imply. A real card of the same
capability may be several times slower or faster.
"""

from __future__ import annotations

from miner.gpu.catalogue import Part
from miner.gpu.plan import Card, Precision, Residency

TFLOPS: tuple[tuple[tuple[int, int], float, float], ...] = (
    ((12, 0), 210.0, 100.0),
    ((10, 0), 1800.0, 75.0),
    ((9, 0), 790.0, 60.0),
    ((8, 9), 165.0, 80.0),
    ((8, 6), 71.0, 30.0),
    ((8, 0), 312.0, 19.5),
    ((7, 5), 50.0, 8.0),
    ((7, 0), 110.0, 15.0),
    ((0, 0), 8.0, 8.0),
)
"""From which capability on, and 10^12 operations a second there in two bytes and in fp32: of an RTX
5090, B200, H200, RTX 4090, RTX 3090, A100, RTX 2080, V100, and anything older."""

REACHED = 0.5
"""Of that, without compiling."""

SLOWER: dict[Precision, float] = {"fp8": 1.25, "int8": 1.25, "nf4": 1.04}
"""Times as long as bf16, none of them compiled: 8-bit weights alone as published for an H100, nf4
for an L40."""

PINNED_BYTES_PER_SECOND = 20e9
"""Moved whole from pinned memory over PCIe 4 with 16 lanes; going away is free, see ``parking``."""

STREAM_BYTES_PER_SECOND = 14e9
"""Group offload of FLUX took 1.7 s a step for 23.8 GB, from pinned memory."""

LOAD_BYTES_PER_SECOND = 2e9
"""From a fast disk, with the work of reading the format."""


def seconds(
    part: Part,
    card: Card,
    precision: Precision,
    residency: Residency,
    steps: int,
    pixels: float,
) -> float | None:
    """Expected for one prompt; None where nothing is known.

    Args:
        part: what runs.
        card: where.
        precision: its numbers.
        residency: where it waits, which costs transfers.
        steps: passes, where the part does not fix them.
        pixels: of a picture, over those that the catalogue counted with.
    """
    if card.capability is None:
        return part.cpu_seconds if precision == "fp32" else None
    if not part.tflop:
        return None
    passes = part.steps or steps
    half, single = _rates(card.capability)
    rate = (single if precision == "fp32" else half) * REACHED
    busy = passes * part.tflop * pixels / rate * SLOWER.get(precision, 1.0)
    size = part.weight_bytes(precision)
    if residency == "host":
        return busy + size / PINNED_BYTES_PER_SECOND
    if residency == "streamed":
        return max(busy, passes * size / STREAM_BYTES_PER_SECOND)
    if residency == "segmented":
        return busy + part.weight_bytes("bf16") / LOAD_BYTES_PER_SECOND
    return busy


def _rates(capability: tuple[int, int]) -> tuple[float, float]:
    return next((half, single) for least, half, single in TFLOPS if capability >= least)
