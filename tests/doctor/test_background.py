"""On what the background is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.doctor.background import judge, look_at_background
from miner.doctor.probe import CPU_PROVIDER, CUDA_PROVIDER
from miner.errors import WeightsError
from tests.doctor.machines import H200, PROVIDERS, SEEN, Programs, case, nvidia

BOTH = [CUDA_PROVIDER, CPU_PROVIDER]


@pytest.mark.parametrize(
    ("changes", "cuda", "status"),
    [
        ({}, False, "ok"),
        ({"available": BOTH, "provider": CUDA_PROVIDER}, True, "ok"),
        ({"available": BOTH, "provider": CPU_PROVIDER}, True, "warn"),
        ({}, True, "warn"),
        ({"reason": "no such file"}, True, "fail"),
        ({"available": BOTH, "card": "CUDA error: no kernel image"}, True, "warn"),
        ({"available": BOTH, "card": "Failed to allocate memory for"}, True, "warn"),
        ({"provider": "", "reason": "Got invalid dimensions"}, False, "fail"),
    ],
)
def test_the_provider_in_use_is_judged_by_the_device(
    changes: dict[str, Any], cuda: bool, status: str
) -> None:
    """A fall back to the CPU works, slower: a warning. A picture that does not go through fails."""
    assert judge({**PROVIDERS, **changes}, cuda).status == status


def test_a_card_that_is_full_is_not_to_be_installed_anew() -> None:
    """While a daemon runs its models hold the memory; another failure is the installation's."""
    full = judge({**PROVIDERS, "card": "CUDNN_STATUS_NOT_INITIALIZED"}, True)
    broken = judge({**PROVIDERS, "card": "no kernel image is available"}, True)

    assert "holds the card's memory" in full.mend
    assert "onnxruntime-gpu[cuda,cudnn]" in broken.mend
    assert "no kernel image is available" in broken.line


def test_a_fall_back_names_the_library_and_the_package_that_brings_it() -> None:
    """onnxruntime says on standard error which one it could not load."""
    said = "Failed to load library with error: libcublasLt.so.13: cannot open shared object file"
    found = judge({**PROVIDERS, "available": BOTH, "said": f"x\n{said}: No such file\n"}, True)

    assert "libcublasLt.so.13 cannot be found" in found.mend
    assert "onnxruntime-gpu[cuda,cudnn]" in found.mend


def test_the_picture_is_told_with_its_seconds() -> None:
    """So that an operator sees what the stage takes here."""
    assert "a picture in 0.50 s" in judge(PROVIDERS, False).line


async def test_a_card_without_kernels_is_left_to_torch(tmp_path: Path) -> None:
    """onnxruntime-gpu has none for 10.x: the CPU is asked for, and the line says why."""
    seen = {**SEEN, "devices": [{**H200, "name": "NVIDIA B200", "capability": [10, 0]}]}
    programs = Programs(gpu=seen, background=PROVIDERS)
    found = await look_at_background(case(tmp_path, programs, nvidia))

    assert programs.asked[-1][0][-1] == "cpu"
    assert found.status == "ok"
    assert "no kernels for compute capability 10.0" in found.line


async def test_the_first_worker_s_card_is_tried(tmp_path: Path) -> None:
    """Not the one that CUDA would choose."""
    programs = Programs(gpu=SEEN, background=PROVIDERS)
    await look_at_background(case(tmp_path, programs, nvidia, worker={"gpus": ["1"]}))

    assert [(env or {})["CUDA_VISIBLE_DEVICES"] for _, env in programs.asked] == ["1", "1"]


def test_a_network_that_cannot_be_opened_stops_the_start() -> None:
    """No worker would come up."""
    assert judge({**PROVIDERS, "reason": "x"}, False).stops is WeightsError
    assert judge({"failed": "it ended with -11"}, False).status == "fail"


async def test_the_card_is_asked_for_where_torch_has_it(tmp_path: Path) -> None:
    """As the pipeline does; not where the CPU is set."""
    for device, word in (("auto", "cuda"), ("cpu", "cpu")):
        programs = Programs(gpu=SEEN, background=PROVIDERS)
        await look_at_background(case(tmp_path, programs, device=device))

        assert programs.asked[-1][0][-1] == word


async def test_without_its_weights_there_is_nothing_to_open(tmp_path: Path) -> None:
    """That they are missing is another check's line."""
    found = await look_at_background(case(tmp_path, preset="flux-schnell"))

    assert found.status == "skip"
