"""Cards that are in common use: for tables and tests, and to guess what is not said of a card.

A card has less memory than its name says: the driver keeps some, and a CUDA context takes some. The
figures here are what torch reports, less a context; those of the L40S and the H100 are estimates.
"""

from __future__ import annotations

from miner.gpu.plan import Card

GIB = 1024**3


def _card(
    name: str, seen_gib: float, free_gib: float, capability: tuple[int, int] | None, host_gib: int
) -> Card:
    return Card(name, int(seen_gib * GIB), int(free_gib * GIB), capability, host_gib * GIB)


USUAL_CARDS: tuple[Card, ...] = (
    _card("RTX 3050 4 GB", 3.81, 3.6, (8, 6), 12),
    _card("RTX 3070", 7.65, 7.4, (8, 6), 24),
    _card("RTX 4060", 7.63, 7.4, (8, 9), 24),
    _card("RTX 3060", 11.63, 11.4, (8, 6), 24),
    _card("RTX 4080", 15.6, 15.3, (8, 9), 28),
    _card("RTX 3090", 23.56, 23.2, (8, 6), 56),
    _card("RTX 4090", 23.52, 23.1, (8, 9), 56),
    _card("L40S", 44.4, 44.0, (8, 9), 112),
    _card("H100", 79.1, 78.6, (9, 0), 224),
    _card("H200", 139.8, 139.2, (9, 0), 448),
    _card("a CPU", 64, 56, None, 56),
)
"""One or two of each usual size: memory that torch sees, what is free of it with a context, and the
host memory that is free on machines they are often in."""

PRESETS: tuple[tuple[int, str], ...] = (
    (72, "gpu-80gb"),
    (40, "gpu-48gb"),
    (22, "gpu-24gb"),
    (15, "gpu-16gb"),
    (11, "gpu-12gb"),
    (7, "gpu-8gb"),
    (0, "gpu-4gb"),
)
"""From how many GiB on, and the preset for it."""

KEPT_SHARE, KEPT_MOST = 0.0475, 0.5 * GIB
"""What torch does not see of the size in a card's name: this share, and no more than this. From the
cards above."""
CONTEXT_BYTES, CONTEXT_SHARE = 0.2 * GIB, 0.01
"""What a CUDA context takes: so much, and this share of the size. From the cards above."""


def preset_for(card: Card) -> str:
    """The shipped preset for a card of that size; the embedded one for a CPU."""
    if not card.is_cuda:
        return "mini"
    return next(name for least, name in PRESETS if card.total_bytes >= least * GIB)


def nominal_card(name: str, size: int, capability: tuple[int, int] | None, host: int) -> Card:
    """A card by the size in its name.

    Args:
        name: for a person.
        size: bytes, as the card is sold.
        capability: CUDA compute capability; that of the usual card nearest in size when not given.
        host: bytes of the machine's memory that parts may wait in.
    """
    seen = size - min(KEPT_SHARE * size, KEPT_MOST)
    free = max(0.0, seen - CONTEXT_BYTES - CONTEXT_SHARE * size)
    return Card(name, int(seen), int(free), capability or capability_of_size(size), host)


def capability_of_size(size: int) -> tuple[int, int]:
    """The compute capability of the usual card nearest to a size in bytes."""
    cards = [card for card in USUAL_CARDS if card.capability is not None]
    nearest = min(cards, key=lambda card: abs(card.total_bytes - size))
    assert nearest.capability is not None
    return nearest.capability
