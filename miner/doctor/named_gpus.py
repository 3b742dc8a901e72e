"""Whether the cards that ``worker.gpus`` names are there, and shown to the workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from miner.errors import ConfigError
from miner.gpu.telemetry import GpuReading
from miner.settings import cuda_mask


def require_shown(
    gpus: Sequence[str], readings: Sequence[GpuReading], inherited: Mapping[str, str]
) -> None:
    """Does nothing where each worker gets the card that it is to have.

    Args:
        gpus: of ``worker.gpus``.
        readings: the driver's cards; where there are none, only the mask is looked at.
        inherited: the environment of a worker before it is given a card.

    Raises:
        ConfigError: ``CUDA_VISIBLE_DEVICES`` does not show one, or the driver has no such card.
    """
    by_bus = inherited.get(cuda_mask.ORDER, cuda_mask.BY_BUS) == cuda_mask.BY_BUS
    for gpu in gpus:
        name = cuda_mask.within(gpu, inherited)
        if not readings or name.startswith("MIG-"):  # the driver was not asked for its parts
            continue
        card = _card(name, readings)
        if card is None:
            raise ConfigError(f"worker.gpus: {_told(gpu, name)} is none of {_named(readings)}")
        shown = cuda_mask.mask(inherited)
        if by_bus and shown is not None and not any(_card(one, [card]) for one in shown):
            raise ConfigError(
                f"worker.gpus: {gpu!r} is card {card.index}, which "
                f"{cuda_mask.VISIBLE}={inherited[cuda_mask.VISIBLE]} does not show; "
                "name one that it shows, or change the variable"
            )


def _card(name: str, readings: Sequence[GpuReading]) -> GpuReading | None:
    for one in readings:
        if name == str(one.index) or cuda_mask.same_uuid(name, one.uuid):
            return one
    return None


def _told(gpu: str, name: str) -> str:
    return repr(gpu) if gpu == name else f"{gpu!r} ({cuda_mask.VISIBLE} makes it {name!r})"


def _named(readings: Sequence[GpuReading]) -> str:
    cards = ", ".join(f"{one.index} ({one.name})" for one in readings)
    return f"the driver's cards: {cards}"
