"""Cards that people have: for tables and tests, and to guess what is not said of a card."""

from __future__ import annotations

from miner.gpu.plan import Card

GIB = 1024**3


def _card(name: str, gib: int, capability: tuple[int, int] | None, host_gib: int) -> Card:
    return Card(name, gib * GIB, gib * GIB, capability, host_gib * GIB)


USUAL_CARDS: tuple[Card, ...] = (
    _card("GTX 1650", 4, (7, 5), 16),
    _card("RTX 4060", 8, (8, 9), 32),
    _card("RTX 3060", 12, (8, 6), 32),
    _card("RTX 4080", 16, (8, 9), 32),
    _card("RTX 4090", 24, (8, 9), 64),
    _card("L40S", 48, (8, 9), 128),
    _card("H100", 80, (9, 0), 256),
    _card("H200", 141, (9, 0), 512),
    _card("a CPU", 64, None, 64),
)
"""One of each usual size, with the host memory that often goes with it; all of both free."""

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


def preset_for(card: Card) -> str:
    """The shipped preset for a card of that size; the embedded one for a CPU."""
    if not card.is_cuda:
        return "mini"
    return next(name for least, name in PRESETS if card.total_bytes >= least * GIB)


def capability_of_size(size: int) -> tuple[int, int]:
    """The compute capability of the usual card nearest to a size in bytes."""
    cards = [card for card in USUAL_CARDS if card.capability is not None]
    nearest = min(cards, key=lambda card: abs(card.total_bytes - size))
    assert nearest.capability is not None
    return nearest.capability
