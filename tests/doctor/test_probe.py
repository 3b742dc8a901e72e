"""The process that touches the card, with a library in memory and for real on the CPU."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from miner.doctor import probe
from miner.doctor.asking import run_program
from miner.settings import PACKAGE_DIR

MATTING = PACKAGE_DIR / "mini" / "weights" / "matting.onnx"


class FakeCuda:
    """CUDA whose devices are the CPU under another name."""

    def __init__(
        self, count: int = 1, refuses: str = "", warns: str = "", broken: str = ""
    ) -> None:
        self._count = count
        self._refuses = refuses
        self._warns = warns
        self._broken = broken

    def init(self) -> None:
        if self._refuses:
            raise RuntimeError(self._refuses)

    def is_available(self) -> bool:
        if self._warns:
            warnings.warn(self._warns, stacklevel=2)
        return self._count > 0

    def device_count(self) -> int:
        return self._count

    def get_device_name(self, index: int) -> str:
        return f"card {index}"

    def get_device_capability(self, index: int) -> tuple[int, int]:
        return (8, 9)

    def get_arch_list(self) -> list[str]:
        return ["sm_86", "compute_86"]

    def mem_get_info(self, index: int) -> tuple[int, int]:
        if self._broken:
            raise RuntimeError(f"{self._broken}\nmore of it")
        return (10, 20)


def library(cuda: FakeCuda, multiply: Any = None) -> Any:
    """What has the functions of torch that the probe uses."""

    def device(kind: str, index: int = 0) -> torch.device:
        return torch.device("cpu")

    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda="13.0"),
        cuda=cuda,
        device=device,
        arange=multiply or torch.arange,
        int64=torch.int64,
        float32=torch.float32,
    )


def test_a_card_that_computes_rightly_is_ok() -> None:
    """With what it is and what it has."""
    seen = probe.gpu(library(FakeCuda(count=2)))

    assert seen["usable"]
    assert seen["arches"] == ["sm_86", "compute_86"]
    assert [one["name"] for one in seen["devices"]] == ["card 0", "card 1"]
    assert {one["kernel"] for one in seen["devices"]} == {"ok"}
    assert seen["devices"][0]["capability"] == [8, 9]
    assert (seen["devices"][0]["free"], seen["devices"][0]["total"]) == (10, 20)


@pytest.mark.parametrize(
    ("cuda", "reason"),
    [
        (FakeCuda(refuses="Found no NVIDIA driver"), "Found no NVIDIA driver"),
        (FakeCuda(count=0, warns="driver is too old"), "driver is too old"),
    ],
)
def test_why_cuda_cannot_be_used_is_kept(cuda: FakeCuda, reason: str) -> None:
    """Raised or only warned of, it is in the answer."""
    seen = probe.gpu(library(cuda))

    assert not seen["usable"]
    assert seen["reason"] == reason


def test_a_card_that_raises_is_told_by_its_first_line() -> None:
    """One bad card leaves the others their answers."""
    (one,) = probe.gpu(library(FakeCuda(broken="CUDA error: ECC")))["devices"]

    assert one["kernel"] == "CUDA error: ECC"


def test_a_wrong_product_is_seen() -> None:
    """A device that computes something else is not believed."""

    class Wrong:
        """A matrix whose products on a device are off by one."""

        def __init__(self, value: torch.Tensor) -> None:
            self.value = value

        def reshape(self, *shape: int) -> Wrong:
            return self

        def __mod__(self, other: int) -> Wrong:
            return self

        def __rmul__(self, other: int) -> Wrong:
            return self

        def to(self, *_: Any) -> torch.Tensor:
            return self.value + 1

        def __matmul__(self, other: Wrong) -> torch.Tensor:
            return self.value @ other.value

    def arange(*_: Any, **__: Any) -> Any:
        return Wrong(torch.eye(4, dtype=torch.int64))

    assert probe.gpu(library(FakeCuda(), arange))["devices"][0]["kernel"] == "wrong"


async def test_the_process_answers_on_this_machine() -> None:
    """As it is started by the checks: one JSON object in the last line."""
    commands = (["gpu"], ["background", str(MATTING), "cpu"])
    seen, found = await asyncio.gather(*map(_run, commands))

    assert seen["torch"] == str(torch.__version__)
    assert seen["cpu_right"]
    assert found["provider"] == "CPUExecutionProvider"
    assert (found["reason"], found["card"]) == ("", "")
    assert found["seconds"] > 0


async def test_a_network_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """In one line, and the process ends well."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")

    assert (await _run(["background", str(broken), "cpu"]))["reason"]


class Session:
    """A network that takes one picture, or refuses it."""

    def __init__(self, provider: str, refuses: str = "") -> None:
        self.provider = provider
        self.refuses = refuses
        self.fed: list[Any] = []

    def get_providers(self) -> list[str]:
        return [self.provider]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", shape=["batch", 3, None, 320], type="tensor(float16)")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="mask"), SimpleNamespace(name="side")]

    def run(self, outputs: list[str], inputs: dict[str, Any]) -> None:
        self.fed.append((outputs, inputs))
        if self.refuses:
            raise ValueError(self.refuses)


def runtime(*sessions: Session) -> Any:
    """What has the functions of onnxruntime that the probe uses; opens one after the other."""
    left = list(sessions)
    asked: list[Any] = []

    def make(file: str, **options: Any) -> Session:
        asked.append(options["providers"])
        return left.pop(0)

    return SimpleNamespace(
        __version__="1.31.1",
        asked=asked,
        get_available_providers=lambda: [probe.CUDA_PROVIDER, probe.CPU_PROVIDER],
        InferenceSession=make,
        SessionOptions=SimpleNamespace,
    )


def test_one_picture_of_the_network_s_own_shape_goes_through() -> None:
    """A size that the file leaves open is that of one picture; the first output alone is asked."""
    session = Session(probe.CUDA_PROVIDER)
    library = runtime(session)
    found = probe.background(library, Path("x"), cuda=True)

    ((outputs, inputs),) = session.fed
    ((name, options), last) = library.asked[0]
    assert found["provider"] == probe.CUDA_PROVIDER
    assert outputs == ["mask"]
    assert (inputs["x"].shape, inputs["x"].dtype) == ((1, 3, 1024, 320), np.float16)
    assert (name, last) == (probe.CUDA_PROVIDER, probe.CPU_PROVIDER)
    assert options["arena_extend_strategy"] == "kSameAsRequested"  # as the pipeline opens it


def test_a_card_that_fails_leaves_the_picture_to_the_cpu() -> None:
    """As in a worker: a session that opens may still have no kernel for the card."""
    card = Session(probe.CUDA_PROVIDER, refuses="no kernel image\nmore")
    library = runtime(card, Session(probe.CPU_PROVIDER))
    found = probe.background(library, Path("x"), cuda=True)

    assert library.asked[1] == [probe.CPU_PROVIDER]
    assert found["provider"] == probe.CPU_PROVIDER
    assert (found["card"], found["reason"]) == ("no kernel image", "")


def test_a_network_that_runs_nowhere_is_told() -> None:
    """With both reasons."""
    both = [Session(name, refuses=f"not {name}") for name in ("a", "b")]
    found = probe.background(runtime(*both), Path("x"), cuda=True)

    assert (found["card"], found["reason"], found["provider"]) == ("not a", "not b", "")


async def test_torch_is_loaded_before_onnxruntime(tmp_path: Path) -> None:
    """As in a worker: onnxruntime-gpu takes the CUDA libraries that torch has loaded."""
    for name in ("torch", "onnxruntime"):
        text = "import sys\nsys.stderr.write(f'{__name__} ')\n__version__ = '1'\n"
        (tmp_path / f"{name}.py").write_text(text + "def get_available_providers(): return []\n")
    command = [sys.executable, "-m", "miner.doctor.probe", "background", "x", "cpu"]
    path = os.pathsep.join([str(tmp_path), str(PACKAGE_DIR.parent)])
    done = await run_program(command, {**os.environ, "PYTHONPATH": path})

    assert done.err.split()[:2] == ["torch", "onnxruntime"]


async def _run(arguments: list[str]) -> dict[str, Any]:
    done = await run_program([sys.executable, "-m", "miner.doctor.probe", *arguments])
    assert done.status == 0, done.err
    return dict(json.loads(done.out.splitlines()[-1]))
