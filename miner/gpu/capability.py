"""What a card can compute in, and why not in the rest.

Rules by CUDA compute capability: bf16 from 8.0 (Ampere). On the CPU the stock number type is fp32.
Whether the libraries are there is asked of the caller, so that a plan can be made for a card and an
installation that are elsewhere. ``kernels`` says which cards the libraries compute on at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec

from miner.gpu.kernels import SERVED_FROM, onnxruntime_has_kernels, text, unserved
from miner.gpu.plan import Card, Precision

__all__ = [
    "BF16_FROM",
    "INSTEAD",
    "LIBRARIES",
    "NF4_FROM",
    "Installed",
    "Settled",
    "assume_installed",
    "computes_in",
    "installed_here",
    "onnxruntime_has_kernels",
    "quantised",
    "settle",
    "unserved",
    "why_not",
]

Installed = Callable[[str], bool]

BF16_FROM = (8, 0)

NF4_FROM = SERVED_FROM
"""bitsandbytes has kernels for the cards that CUDA 13 has them for; older ones were not tried."""

FP16_IS_NAN = "GTX 16"
"""In the names of cards whose convolutions give NaN in fp16: GTX 1630 to 1660 Ti, capability 7.5
like the RTX 20xx, which are right (pytorch issues 58123 and 77955)."""

_PLAIN: tuple[Precision, ...] = ("bf16", "fp16", "fp32")
INSTEAD: dict[Precision, tuple[Precision, ...]] = {
    "nf4": ("int8", *_PLAIN),
    "int8": _PLAIN,
    "fp8": ("int8", *_PLAIN),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "fp32": (),
}
"""What is tried, in turn, in place of one that cannot be had."""

LIBRARIES: dict[Precision, tuple[str, ...]] = {
    "nf4": ("bitsandbytes",),
}


@dataclass(frozen=True)
class Settled:
    """The precision that can be had, and why it is another than was wanted."""

    precision: Precision
    reasons: tuple[str, ...] = ()


def installed_here(library: str) -> bool:
    """Whether this installation has a library; it is not imported."""
    return find_spec(library) is not None


def assume_installed(library: str) -> bool:
    """For a plan of a machine that is not this one."""
    return bool(library)


def why_not(precision: Precision, card: Card, installed: Installed) -> str | None:
    """Why ``card`` cannot have ``precision``, None where it can."""
    missing = next((n for n in LIBRARIES.get(precision, ()) if not installed(n)), None)
    if missing is not None:
        return f"{precision}: {missing} is not installed"
    if card.capability is None:
        return {
            "fp16": "fp16: a CPU has no arithmetic for it",
            "nf4": "nf4: bitsandbytes computes on CUDA only",
        }.get(precision)
    if precision == "fp16" and FP16_IS_NAN in card.name:
        return "fp16: its convolutions give NaN on a GTX 16xx"
    least = {"bf16": BF16_FROM, "nf4": NF4_FROM}.get(precision)
    if least is not None and card.capability < least:
        has = text(card.capability)
        return f"{precision}: needs compute capability {text(least)}, this card has {has}"
    return None


def settle(
    wanted: Precision, card: Card, can_have: Collection[Precision], installed: Installed
) -> Settled:
    """``wanted`` where it can be had, else what comes nearest to it.

    Args:
        wanted: by the operator or the rules.
        card: that computes.
        can_have: what the component can be run in at all; "fp32" is taken for possible.
        installed: whether a library is there.
    """
    reasons: list[str] = []
    for precision in (wanted, *INSTEAD[wanted]):
        reason = why_not(precision, card, installed)
        if precision not in can_have:
            reason = f"{precision}: this component cannot have it"
        if reason is None:
            return Settled(precision, tuple(reasons))
        reasons.append(reason)
    return Settled("fp32", tuple(reasons))


def quantised(card: Card, installed: Installed) -> tuple[Precision, ...]:
    """What makes weights smaller on this card, in the order in which it is tried.

    int8, then nf4, which is the roughest. fp8 is never chosen: with a scale for each row it takes
    the bytes and the time of int8, and its weights are three times as far from the exact ones.
    """
    order: tuple[Precision, ...] = ("int8", "nf4")
    return tuple(mode for mode in order if why_not(mode, card, installed) is None)


def computes_in(card: Card, never_fp16: bool = False) -> Precision:
    """The number type that quantised weights are widened to on a card.

    Args:
        card: that computes.
        never_fp16: the component overflows in it.
    """
    can_have = [precision for precision in _PLAIN if not (never_fp16 and precision == "fp16")]
    return settle("bf16", card, can_have, assume_installed).precision
