"""The card that is there is the one that computes, or the start ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.doctor.asking import Done
from miner.doctor.cards import Cards, cards
from miner.doctor.examine import Check, examine
from miner.doctor.gpu import judge, look_at_gpu
from miner.errors import ConfigError, DeviceError
from miner.gpu.telemetry import GpuReading
from tests.doctor.machines import BLIND, H200, SEEN, Programs, card_on_bus, case, nvidia, put


def four() -> tuple[GpuReading, ...]:
    """What a driver with four cards says."""
    return tuple(GpuReading(index, f"GPU-{index}", "NVIDIA L4") for index in range(4))


THERE = Cards(("NVIDIA H200",), "550.54.14", 1)


async def test_a_card_that_computes_is_told_with_its_memory(tmp_path: Path) -> None:
    """Name, capability and free memory, after a kernel ran on it."""
    found = await look_at_gpu(case(tmp_path, Programs(gpu=SEEN), nvidia))

    assert found.status == "ok"
    assert "NVIDIA H200, capability 9.0, 149.0 of 150.0 GiB free" in found.line


@pytest.mark.parametrize("device", ["auto", "cuda"])
async def test_a_silent_fall_back_to_the_cpu_stops_the_start(tmp_path: Path, device: str) -> None:
    """A driver names a card and torch sees none: the reason is torch's own."""
    programs = Programs(gpu=BLIND)
    found = await look_at_gpu(case(tmp_path, programs, nvidia, device=device, starting=True))

    assert found.status == "fail"
    assert found.stops is DeviceError
    assert "driver too old (found 11040)" in found.line
    assert "13.0" in found.mend
    assert 'device = "cpu"' in found.mend


async def test_cuda_that_is_asked_for_and_not_there_stops_the_start(tmp_path: Path) -> None:
    """Also where there is no sign of a card."""
    found = await look_at_gpu(case(tmp_path, Programs(gpu=BLIND), device="cuda"))

    assert found.stops is DeviceError
    assert found.line.startswith("cuda is asked for")


async def test_a_card_without_a_driver_stops_those_who_need_it(tmp_path: Path) -> None:
    """Large models do not start on the CPU behind one's back; the embedded ones may."""
    card_on_bus(tmp_path)
    small = await look_at_gpu(case(tmp_path, Programs(gpu=BLIND)))
    large = await look_at_gpu(case(tmp_path, Programs(gpu=BLIND), preset="flux-schnell"))

    assert (small.status, small.stops) == ("fail", None)
    assert (large.status, large.stops) == ("fail", DeviceError)
    assert "install the NVIDIA driver" in large.mend
    assert "1 NVIDIA card" in large.line


async def test_a_build_without_cuda_is_named(tmp_path: Path) -> None:
    """The mend is another build, not another driver."""
    blind = {**BLIND, "built_for": None, "reason": "Torch not compiled with CUDA enabled"}
    found = await look_at_gpu(case(tmp_path, Programs(gpu=blind), nvidia))

    assert "pip install torch" in found.mend


@pytest.mark.parametrize("kernel", ["wrong", "CUDA error: no kernel image is available"])
def test_a_kernel_that_fails_stops_the_start(kernel: str) -> None:
    """A card that is seen and does not compute, or wrongly, is no card."""
    found = judge({**SEEN, "devices": [H200, {**H200, "kernel": kernel}]}, THERE, stops=False)

    assert found.stops is DeviceError
    assert kernel in found.line


async def test_without_a_card_the_cpu_computes(tmp_path: Path) -> None:
    """That is no fault; a start does not even ask torch."""
    programs = Programs(gpu=BLIND)
    by_hand = await look_at_gpu(case(tmp_path, programs))
    starting = await look_at_gpu(case(tmp_path, Programs(), starting=True))

    assert (by_hand.status, starting.status) == ("ok", "ok")
    assert "torch 2.13.0 computes" in by_hand.line


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({**BLIND, "cpu_right": False}, "computes wrongly"),
        (Done(1, "", "Traceback ...\nImportError: libtorch.so: no such file\n"), "libtorch.so"),
        (Done(-11, "", ""), "ended with -11"),
    ],
)
async def test_a_torch_that_does_not_work_stops_the_start(
    tmp_path: Path, answer: Any, told: str
) -> None:
    """Its last words are the line, and no traceback."""
    found = await look_at_gpu(case(tmp_path, Programs(gpu=answer)))

    assert found.stops is DeviceError
    assert told in found.line
    assert "Traceback" not in found.line


async def test_the_cpu_as_set_leaves_a_card_alone(tmp_path: Path) -> None:
    """Said, because it may be a mistake."""
    found = await look_at_gpu(case(tmp_path, Programs(gpu=SEEN), nvidia, device="cpu"))

    assert found.status == "ok"
    assert "NVIDIA H200 is not used" in found.line


async def test_every_card_of_the_workers_is_tried(tmp_path: Path) -> None:
    """Each in a process that sees that card alone; one that fails is the finding."""
    programs = Programs(gpu=SEEN)
    worker = {"count": 2, "gpus": ["0", "GPU-1"]}
    await look_at_gpu(case(tmp_path, programs, four, worker=worker))

    visible = [(environment or {})["CUDA_VISIBLE_DEVICES"] for _, environment in programs.asked]
    assert visible == ["0", "GPU-1"]


@pytest.mark.parametrize(
    ("gpu", "told"),
    [
        ("2", "'2' is outside of CUDA_VISIBLE_DEVICES=2,3, which shows 2 devices"),
        ("GPU-1", "'GPU-1' is card 1, which CUDA_VISIBLE_DEVICES=2,3 does not show"),
    ],
)
async def test_a_card_outside_of_the_mask_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, told: str
) -> None:
    """The mask says which cards are ours: one clear line, before torch is asked."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    programs = Programs(gpu=SEEN)
    one = case(tmp_path, programs, four, worker={"gpus": [gpu]}, starting=True)
    (found,) = await examine(one, [Check("gpu", look_at_gpu)])

    assert found.stops is ConfigError
    assert told in found.line
    assert not programs.asked


async def test_a_card_within_the_mask_is_counted_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Index 0 of "2,3" is card 2; its UUID names it as well."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    programs = Programs(gpu=SEEN)
    worker = {"count": 2, "gpus": ["0", "GPU-3"]}
    assert (await look_at_gpu(case(tmp_path, programs, four, worker=worker))).status == "ok"

    visible = [(environment or {})["CUDA_VISIBLE_DEVICES"] for _, environment in programs.asked]
    assert visible == ["2", "GPU-3"]


async def test_a_card_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With those that are."""
    one = case(tmp_path, Programs(gpu=SEEN), nvidia, worker={"gpus": ["1"]})
    (found,) = await examine(one, [Check("gpu", look_at_gpu)])

    assert found.stops is ConfigError
    assert "'1' is none of the driver's cards: 0 (NVIDIA H200)" in found.line


def test_a_card_without_kernels_is_told_what_to_install() -> None:
    """By the list of the torch that is there, not by the error alone."""
    old = {**H200, "capability": [7, 0], "kernel": "CUDA error: no kernel image is available"}
    found = judge({**SEEN, "devices": [old]}, THERE, stops=True)

    assert "torch built for CUDA 12.6 and onnxruntime-gpu==1.26.0" in found.mend


async def test_a_missing_node_of_nvidia_uvm_is_named(tmp_path: Path) -> None:
    """The driver is loaded, and nothing has made the device that CUDA's memory needs."""
    put(tmp_path, "proc/driver/nvidia/version", "NVRM version: NVIDIA x  580.95.05  Thu\n")
    without = await look_at_gpu(case(tmp_path, Programs(gpu=BLIND), nvidia))
    put(tmp_path, "dev/nvidia-uvm", "")
    beside = await look_at_gpu(case(tmp_path, Programs(gpu=BLIND), nvidia))
    sound = await look_at_gpu(case(tmp_path, Programs(gpu=SEEN), nvidia))

    assert "modprobe nvidia_uvm" in without.mend
    assert "nvidia_uvm" not in beside.mend
    assert sound.status == "ok"


async def test_a_driver_that_is_too_old_is_named_beside_what_is_needed(tmp_path: Path) -> None:
    """CUDA 13 needs 580."""
    put(tmp_path, "proc/driver/nvidia/version", "NVRM version: NVIDIA x  550.54.14  Thu\n")
    put(tmp_path, "dev/nvidia-uvm", "")
    found = await look_at_gpu(case(tmp_path, Programs(gpu=BLIND), nvidia))

    assert "needs driver 580 or later (here is 550.54.14)" in found.mend


async def test_cards_are_found_by_driver_and_bus(tmp_path: Path) -> None:
    """The driver's version from its own file; sound devices of cards are no cards."""
    card_on_bus(tmp_path)
    line = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 2024\nGCC\n"
    put(tmp_path, "proc/driver/nvidia/version", line)
    found = await cards(case(tmp_path))

    assert found == Cards((), "550.54.14", 1)
    assert str(found) == "1 NVIDIA card (driver 550.54.14)"
