"""Driver, torch and onnxruntime-gpu are of one CUDA, or the doctor says which is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.doctor.cuda import judge, look_at_cuda, read_build
from tests.doctor.machines import BLIND, SEEN, Programs, case, nvidia, put


def test_two_cudas_are_told_with_both_numbers() -> None:
    """onnxruntime-gpu finds no libraries of its own version then."""
    found = judge("12.6", "13.0", "580.95.05")

    assert found.status == "warn"
    assert "CUDA 12.6" in found.line
    assert "CUDA 13.0" in found.line
    assert "onnxruntime-gpu[cuda,cudnn]" in found.mend
    assert "driver 580 or later" in found.mend


def test_an_old_driver_is_told_what_it_can_have() -> None:
    """Either a newer driver, or builds for CUDA 12 of both."""
    found = judge("12.6", "13.0", "550.54.14")

    assert "update the driver to 580 or later (here is 550.54.14)" in found.mend
    assert "torch built for CUDA 12.6 and onnxruntime-gpu==1.26.0" in found.mend


@pytest.mark.parametrize(
    ("torch_for", "onnxruntime_for", "driver", "usable", "status"),
    [
        ("13.0", "13.0", "580.95.05", True, "ok"),
        ("13.2", "13.0", "", True, "ok"),
        ("12.6", "12.8", "550.54.14", True, "ok"),
        ("13.0", "", "580.95.05", True, "ok"),
        ("13.0", "13.0", "550.54.14", True, "ok"),
        ("13.0", "13.0", "550.54.14", False, "warn"),
    ],
)
def test_equal_major_versions_are_well(
    torch_for: str, onnxruntime_for: str, driver: str, usable: bool, status: str
) -> None:
    """An old driver is a fault only where torch cannot use the card: CUDA has ways around it."""
    assert judge(torch_for, onnxruntime_for, driver, usable).status == status


async def test_only_a_card_in_use_is_a_reason_to_look(tmp_path: Path) -> None:
    """Neither a machine without one nor the CPU as set has a CUDA to compare."""
    programs = Programs(gpu=SEEN)
    none = await look_at_cuda(case(tmp_path, programs))
    cpu = await look_at_cuda(case(tmp_path, programs, nvidia, device="cpu"))
    cpu_build = {**BLIND, "built_for": None}
    built = await look_at_cuda(case(tmp_path, Programs(gpu=cpu_build), nvidia))
    card = await look_at_cuda(case(tmp_path, programs, nvidia))

    assert [one.status for one in (none, cpu, built)] == ["skip"] * 3
    assert "torch is built for CUDA 13.0" in card.line


def test_onnxruntime_s_cuda_is_read_from_its_own_file(tmp_path: Path) -> None:
    """Nothing is imported; a build for the CPU names none, and neither does a missing file."""
    gpu = put(tmp_path, "gpu.py", "package_name = 'onnxruntime-gpu'\ncuda_version = '13.0'\n")
    cpu = put(tmp_path, "cpu.py", "package_name = 'onnxruntime'\n__version__ = '1.32.0'\n")

    assert read_build(gpu) == "13.0"
    assert read_build(cpu) == read_build(tmp_path / "none.py") == ""
    assert read_build(put(tmp_path, "odd.py", "cuda_version = (")) == ""
