"""Which cards the published builds of torch and onnxruntime-gpu have kernels for.

A build holds machine code for some compute capabilities. It runs on cards of the same major
version and an equal or higher minor one; code in the intermediate form (PTX, "compute_120") also
runs on every later card. On any other card each kernel fails with "no kernel image".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata

from miner.gpu.plan import Card

Capability = tuple[int, int]

TORCH_ARCHES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
"""Of torch's wheels for CUDA 13, the stock ones (its table of builds: pytorch issue 172352)."""

LEGACY_ARCHES = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
"""Of torch's wheels for CUDA 12.6, which torch 2.14 is to be the last to have (same table; pytorch
issue 190385)."""

ONNXRUNTIME_ARCHES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
"""Of onnxruntime-gpu 1.31.1, read from the headers of the kernels in its CUDA provider; there is
no PTX in it."""

SERVED_FROM = (7, 5)
"""CUDA 13 compiles for no older card."""

DRIVER_FOR = {12: 525, 13: 580}
"""The oldest major version of the Linux driver, by the major version of CUDA."""

LAST_FOR_CUDA_12 = "onnxruntime-gpu==1.26.0"
"""On the package index; 1.27 and later are built for CUDA 13."""

LEGACY_ONNXRUNTIME_ARCHES = ("sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "compute_90")
"""Of that one, read as above."""

LEGACY_BUILD = "+cu126"

_ARCH = re.compile(r"(sm|compute)_([0-9]+)([0-9])([af]?)")


def has_kernels(capability: Capability, arches: Sequence[str]) -> bool:
    """Whether a build runs on a card.

    Args:
        capability: of the card.
        arches: of the build, as ``torch.cuda.get_arch_list()`` has them; others are passed over.
    """
    return any(_runs(capability, arch) for arch in arches)


def arches_here() -> Sequence[str]:
    """Of the torch that is installed, by its version; those of the stock wheel where it has none.

    Torch is not imported. A build for the CPU is taken for the stock wheel: a plan made with it is
    for another machine.
    """
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return TORCH_ARCHES
    return LEGACY_ARCHES if version.endswith(LEGACY_BUILD) else TORCH_ARCHES


def unserved(card: Card, arches: Sequence[str] = TORCH_ARCHES) -> str | None:
    """Why torch cannot compute on a card, and what to install instead; None where it can.

    Args:
        card: a CPU is always served.
        arches: of the torch that is to run there; see ``arches_here``.
    """
    if card.capability is None or has_kernels(card.capability, arches):
        return None
    why = f"this torch has no kernels for compute capability {text(card.capability)}"
    if has_kernels(card.capability, TORCH_ARCHES):
        return f"{why}; install torch's usual build, for CUDA 13 (driver 580 or later)"
    if has_kernels(card.capability, LEGACY_ARCHES):
        matting = LAST_FOR_CUDA_12
        if not has_kernels(card.capability, LEGACY_ONNXRUNTIME_ARCHES):
            matting = "the onnxruntime that mattes on the CPU"
        return (
            f"{why}, CUDA 13 begins with {text(SERVED_FROM)}; "
            f"install torch built for CUDA 12.6 and {matting}"
        )
    return f"{why}, and no published build has; use another card"


def onnxruntime_has_kernels(card: Card) -> bool:
    """Whether onnxruntime-gpu 1.31 computes on a card; not on 10.x. On a CPU there is no question.

    Where it does not, matting is computed on the CPU.
    """
    return card.capability is None or has_kernels(card.capability, ONNXRUNTIME_ARCHES)


def text(capability: Capability) -> str:
    """As NVIDIA writes it: "8.9"."""
    return f"{capability[0]}.{capability[1]}"


def _runs(capability: Capability, arch: str) -> bool:
    found = _ARCH.fullmatch(arch)
    if found is None:
        return False
    built = (int(found[2]), int(found[3]))
    if found[4] == "a":  # of that one architecture alone
        return capability == built
    if found[1] == "compute":
        return capability >= built
    return capability[0] == built[0] and capability[1] >= built[1]
