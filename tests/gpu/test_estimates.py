"""Estimates of time: only that they compare plans the right way round."""

from __future__ import annotations

import pytest

from miner.gpu.catalogue import load_catalogue
from miner.gpu.estimates import seconds
from miner.gpu.plan import Card, Precision, Residency

CATALOGUE = load_catalogue()
TRANSFORMER = CATALOGUE["flux-schnell"].parts["transformer"]
TRIPOSR = CATALOGUE["triposr"].parts["triposr"]


def card(capability: tuple[int, int] | None) -> Card:
    """Sizes do not matter here."""
    return Card("a card", 1, 1, capability, 1)


def painting(precision: Precision = "bf16", residency: Residency = "resident") -> float:
    """Of the transformer on an Ada card."""
    found = seconds(TRANSFORMER, card((8, 9)), precision, residency, 3, 1.0)
    assert found is not None
    return found


def test_what_moves_takes_longer_than_what_stays() -> None:
    """Moved whole or streamed, a part takes at least its own time and the transfer's."""
    assert painting() < painting("bf16", "host") < painting("bf16", "streamed")
    assert painting() < painting("bf16", "segmented")


def test_precisions_differ_as_published() -> None:
    """nf4 loses little, 8 bits more, fp32 most."""
    assert painting() < painting("nf4") < painting("fp8") == painting("int8") < painting("fp32")


@pytest.mark.parametrize("capability", [(5, 2), (7, 0), (7, 5), (8, 0), (9, 0), (10, 3), (12, 1)])
def test_every_capability_has_an_estimate(capability: tuple[int, int]) -> None:
    """Also those between and beyond the ones that are named."""
    assert (seconds(TRIPOSR, card(capability), "fp32", "resident", 1, 1.0) or 0) > 0


def test_a_cpu_has_only_what_was_measured() -> None:
    """TripoSR was timed on two cores, in fp32; FLUX never was."""
    assert seconds(TRIPOSR, card(None), "fp32", "resident", 1, 1.0) == 36.0
    assert seconds(TRIPOSR, card(None), "bf16", "resident", 1, 1.0) is None
    assert seconds(TRANSFORMER, card(None), "fp32", "resident", 3, 1.0) is None
