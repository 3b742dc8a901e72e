"""What a card can compute in, and why not in the rest.

Rules by CUDA compute capability: bf16 from 8.0 (Ampere), fp8 from 8.9 (Ada). On the CPU the stock
number type is fp32. Whether the libraries are there is asked of the caller, so that a plan can be
made for a card and an installation that are elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec

from miner.gpu.plan import Card, Precision

Installed = Callable[[str], bool]

BF16_FROM = (8, 0)
FP8_FROM = (8, 9)
NF4_FROM = (6, 0)

_PLAIN: tuple[Precision, ...] = ("bf16", "fp16", "fp32")
INSTEAD: dict[Precision, tuple[Precision, ...]] = {
    "nf4": ("int8", "fp8", *_PLAIN),
    "int8": ("fp8", *_PLAIN),
    "fp8": ("int8", *_PLAIN),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "fp32": (),
}
"""What is tried, in turn, in place of one that cannot be had."""

LIBRARIES: dict[Precision, tuple[str, ...]] = {
    "int8": ("torchao",),
    "nf4": ("bitsandbytes", "accelerate"),
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
    least = {"bf16": BF16_FROM, "fp8": FP8_FROM, "nf4": NF4_FROM}.get(precision)
    if least is not None and card.capability < least:
        has = _text(card.capability)
        return f"{precision}: needs compute capability {_text(least)}, this card has {has}"
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

    One of 8 bits, then nf4. fp8 and int8 took equally long in published measurements; fp8 goes
    first where the card has it, because its matrix units can be used as well. nf4 was the fastest
    of all and is the roughest, so it is for where 8 bits do not fit.
    """
    eight: tuple[Precision, ...] = ("fp8", "int8") if card.is_cuda else ("int8", "fp8")
    found = [mode for mode in eight if why_not(mode, card, installed) is None][:1]
    if why_not("nf4", card, installed) is None:
        found.append("nf4")
    return tuple(found)


def _text(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
