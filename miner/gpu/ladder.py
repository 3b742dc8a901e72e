"""The ways to place a set of models on a card, from the best to the thriftiest.

A rung says of each component its precision and its residency. The order of the rungs follows from
what the card can compute alone, never from how much memory there is: the planner takes the first
that fits, and so more memory can only lead to an earlier one.

Rungs, in this order: everything resident in the card's own precision; quantised and resident; parts
waiting in the host's memory, more and more of them; then matting computed by the CPU as well; the
large ones streamed block by block, those with the fewest bytes first; parts loaded, run and
unloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from miner.gpu import capability
from miner.gpu.capability import Installed, Settled
from miner.gpu.catalogue import Part
from miner.gpu.plan import Card, Component, Precision, Residency

Parts = Mapping[Component, Part]

LEAVING: tuple[frozenset[Component], ...] = (
    frozenset({"dreamgaussian"}),
    frozenset({"dreamgaussian", "self_check"}),
    frozenset({"dreamgaussian", "self_check", "text_encoders"}),
    frozenset({"dreamgaussian", "self_check", "text_encoders", "triposr"}),
    frozenset({"dreamgaussian", "self_check", "text_encoders", "triposr", "vae", "transformer"}),
)
"""Who leaves the device first: those that few jobs use, then those that work once in a job."""

LARGE: tuple[Component, ...] = ("text_encoders", "transformer")
"""Quantised and streamed; the others are small."""

STREAMABLE: frozenset[Precision] = frozenset({"fp32", "fp16", "bf16", "fp8", "int8"})
"""The hooks that move blocks move plain tensors, which nf4's are not."""


@dataclass(frozen=True)
class Rung:
    """One way to place everything."""

    precision: Mapping[Component, Precision]
    residency: Mapping[Component, Residency]


def rungs(card: Card, parts: Parts, installed: Installed) -> Iterator[Rung]:
    """Every way worth trying for these parts, the best first; some of them more than once.

    Args:
        card: decides which precisions there are, and whether host memory is another memory.
        parts: the components in use.
        installed: whether a library is there.
    """
    modes = list(_precisions(card, parts, installed))
    whole = Places(parts, capability.onnxruntime_has_kernels(card))
    less = Places(parts, matting_on_card=False)
    for mode in modes:
        yield Rung(mode, whole.resident())
    if card.is_cuda:
        for leaving in LEAVING:
            for mode in modes:
                yield Rung(mode, whole.away(leaving, "host"))
        for mode in modes:
            yield Rung(mode, less.away(LEAVING[-1], "host"))
        for mode in reversed(modes):  # a step takes as long as its bytes travel
            for places in less.streamed():
                yield Rung(mode, places)
    for leaving in LEAVING:
        for mode in modes:
            yield Rung(mode, whole.away(leaving, "segmented"))
    if card.is_cuda:
        for mode in modes:
            yield Rung(mode, less.away(LEAVING[-1], "segmented"))


def _precisions(
    card: Card, parts: Parts, installed: Installed
) -> Iterator[dict[Component, Precision]]:
    """The card's own precision, then the transformer quantised, then the text encoders too."""
    own = {name: own_precision(card, part, installed).precision for name, part in parts.items()}
    yield own
    if not card.is_cuda and any(parts[name].native is None for name in LARGE if name in parts):
        own = own | {n: "bf16" for n in LARGE if n in parts and parts[n].native is None}
        yield own  # half the bytes; processors without the instructions take longer
    for mode in capability.quantised(card, installed):
        can = [name for name in LARGE if name in parts and mode in parts[name].can_have]
        if "transformer" in can:
            yield own | {"transformer": mode}
        yield own | dict.fromkeys(can, mode)


def own_precision(card: Card, part: Part, installed: Installed) -> Settled:
    """What a component is run in when nothing has to be saved; with why it is not bf16."""
    own = part.native or ("bf16" if card.is_cuda else "fp32")
    return capability.settle(own, card, part.can_have, installed)


@dataclass(frozen=True)
class Places:
    """Residencies for all components at once.

    Attributes:
        parts: the components in use.
        matting_on_card: whether the matting network, where it is used, computes on the device.
    """

    parts: Parts
    matting_on_card: bool

    def resident(self) -> dict[Component, Residency]:
        """Everything on the device."""
        places: dict[Component, Residency] = dict.fromkeys(self.parts, "resident")
        if "matting" in places and not self.matting_on_card:
            places["matting"] = "cpu"
        return places

    def away(self, leaving: frozenset[Component], where: Residency) -> dict[Component, Residency]:
        """Those that leave are there, the rollback generator on disk in place of segments."""
        places = self.resident()
        for name in leaving & self.parts.keys():
            unused = name == "dreamgaussian" and where == "segmented"
            places[name] = "disk" if unused else where
        return places

    def streamed(self) -> Iterator[dict[Component, Residency]]:
        """Text encoders streamed, then the transformer, then both; all else waits on the host."""
        for large in (LARGE[:1], LARGE[1:], LARGE):
            if all(name in self.parts and self.parts[name].block for name in large):
                yield self.away(LEAVING[-1], "host") | dict.fromkeys(large, "streamed")
