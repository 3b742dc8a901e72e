"""Which cards the published builds compute on, and what is said of the others."""

from __future__ import annotations

import pytest

from miner.gpu.capability import assume_installed, computes_in, settle, why_not
from miner.gpu.kernels import (
    LEGACY_ARCHES,
    TORCH_ARCHES,
    arches_here,
    has_kernels,
    onnxruntime_has_kernels,
    unserved,
)
from miner.gpu.plan import PRECISIONS, Card


def card(capability: tuple[int, int] | None, name: str = "a card") -> Card:
    """With memory that nobody asks about."""
    return Card(name, 1, 1, capability, 1)


@pytest.mark.parametrize(
    ("capability", "arches", "runs"),
    [
        ((8, 9), ("sm_86",), True),
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_86",), False),
        ((9, 0), ("sm_90a",), True),
        ((10, 3), ("sm_100f",), True),
        ((12, 1), ("sm_120",), True),
        ((13, 0), ("sm_120", "compute_120"), True),
        ((12, 0), ("sm_120a", "gfx942"), True),
        ((8, 9), (), False),
    ],
)
def test_machine_code_runs_on_its_major_version(
    capability: tuple[int, int], arches: tuple[str, ...], runs: bool
) -> None:
    """From its minor version on; the intermediate form runs on every later card."""
    assert has_kernels(capability, arches) is runs


@pytest.mark.parametrize("capability", [(6, 1), (7, 0)])
def test_cards_before_cuda_13_are_refused_with_what_to_install(
    capability: tuple[int, int],
) -> None:
    """Torch for CUDA 12.6 computes there, with the last onnxruntime-gpu of CUDA 12."""
    why = unserved(card(capability))

    assert why is not None
    assert f"{capability[0]}.{capability[1]}" in why
    assert "torch built for CUDA 12.6" in why
    assert "onnxruntime-gpu==1.26.0" in why
    assert unserved(card(capability), LEGACY_ARCHES) is None


@pytest.mark.parametrize("capability", [None, (7, 5), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0)])
def test_cards_of_cuda_13_are_served(capability: tuple[int, int] | None) -> None:
    """Also those later than the build, and a CPU always."""
    assert unserved(card(capability)) is None


def test_a_card_that_is_too_new_or_too_old_is_named_as_such() -> None:
    """The usual build where it helps; another card where nothing does."""
    assert "torch's usual build" in (unserved(card((12, 0)), LEGACY_ARCHES) or "")
    assert "use another card" in (unserved(card((3, 5))) or "")


def test_where_no_onnxruntime_helps_none_is_named() -> None:
    """The last one for CUDA 12 begins with 6.0."""
    why = unserved(card((5, 2))) or ""

    assert "torch built for CUDA 12.6" in why
    assert "mattes on the CPU" in why
    assert "==" not in why


@pytest.mark.parametrize("capability", [None, (7, 5), (8, 7), (8, 9), (9, 0), (12, 0), (12, 1)])
def test_onnxruntime_has_kernels_for_most(capability: tuple[int, int] | None) -> None:
    """On a CPU there is no question."""
    assert onnxruntime_has_kernels(card(capability))


@pytest.mark.parametrize("capability", [(7, 0), (10, 0), (10, 3), (11, 0)])
def test_onnxruntime_has_no_kernels_for_10(capability: tuple[int, int]) -> None:
    """Its build holds machine code alone, and none of that major version."""
    assert not onnxruntime_has_kernels(card(capability))


def test_the_torch_that_is_installed_has_known_arches() -> None:
    """By its version; one for the CPU is taken for the stock wheel."""
    assert tuple(arches_here()) in (TORCH_ARCHES, LEGACY_ARCHES)


@pytest.mark.parametrize("name", ["NVIDIA GeForce GTX 1650", "NVIDIA GeForce GTX 1660 SUPER"])
def test_a_gtx_16_computes_in_fp32(name: str) -> None:
    """fp16 gives NaN there, and bf16 is not there below 8.0; an RTX 20xx keeps fp16."""
    turing = card((7, 5), name)

    assert settle("bf16", turing, PRECISIONS, assume_installed).precision == "fp32"
    assert "NaN" in (why_not("fp16", turing, assume_installed) or "")
    assert computes_in(turing) == "fp32"
    assert computes_in(card((7, 5), "NVIDIA GeForce RTX 2080")) == "fp16"


def test_nf4_is_for_the_cards_that_its_wheels_serve() -> None:
    """From 7.5 on, as torch for CUDA 13."""
    assert why_not("nf4", card((7, 0)), assume_installed) is not None
    assert why_not("nf4", card((7, 5)), assume_installed) is None
