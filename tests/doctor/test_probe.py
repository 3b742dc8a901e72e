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
    assert (found["reason"], found["run"]) == ("", "")
    assert found["seconds"] > 0


async def test_a_network_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """In one line, and the process ends well."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")

    assert (await _run(["background", str(broken), "cpu"]))["reason"]


class Session:
    """A network that takes one picture, or refuses it."""

    def __init__(self, provider: str, refuses: str = "", falls_to: str = "") -> None:
        self.provider = provider
        self.refuses = refuses
        self.falls_to = falls_to
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
        self.provider = self.falls_to or self.provider


def runtime(session: Session, *available: str) -> Any:
    """What has the functions of onnxruntime that the probe uses."""

    def make(file: str, providers: list[str]) -> Session:
        return session

    return SimpleNamespace(
        __version__="1.31.1", get_available_providers=lambda: available, InferenceSession=make
    )


def test_one_picture_of_the_network_s_own_shape_goes_through() -> None:
    """A size that the file leaves open is that of one picture; the first output alone is asked."""
    session = Session(probe.CUDA_PROVIDER)
    found = probe.background(runtime(session, probe.CUDA_PROVIDER), Path("x"), cuda=True)

    ((outputs, inputs),) = session.fed
    assert found["provider"] == probe.CUDA_PROVIDER
    assert outputs == ["mask"]
    assert (inputs["x"].shape, inputs["x"].dtype) == ((1, 3, 1024, 320), np.float16)


def test_a_picture_that_does_not_go_through_is_told() -> None:
    """A session that opens may still have no kernel for the card."""
    session = Session(probe.CUDA_PROVIDER, refuses="no kernel image\nmore")
    found = probe.background(runtime(session, probe.CUDA_PROVIDER), Path("x"), cuda=True)

    assert (found["reason"], found["run"]) == ("", "no kernel image")


def test_a_session_that_falls_back_as_it_runs_is_seen() -> None:
    """The provider is asked for after the picture."""
    session = Session(probe.CUDA_PROVIDER, falls_to=probe.CPU_PROVIDER)
    found = probe.background(runtime(session, probe.CUDA_PROVIDER), Path("x"), cuda=True)

    assert found["provider"] == probe.CPU_PROVIDER


async def test_torch_is_loaded_before_onnxruntime(tmp_path: Path) -> None:
    """As in a worker: onnxruntime-gpu takes the CUDA libraries that torch has loaded."""
    for name in ("torch", "onnxruntime"):
        text = "import sys\nsys.stderr.write(f'{__name__} ')\n__version__ = '1'\n"
        (tmp_path / f"{name}.py").write_text(text + "def get_available_providers(): return []\n")
    command = [sys.executable, "-m", "miner.doctor.probe", "background", "x", "cpu"]
    path = os.pathsep.join([str(tmp_path), str(PACKAGE_DIR.parent)])
    done = await run_program(command, {**os.environ, "PYTHONPATH": path})

    assert done.err.split() == ["torch", "onnxruntime"]


async def _run(arguments: list[str]) -> dict[str, Any]:
    done = await run_program([sys.executable, "-m", "miner.doctor.probe", *arguments])
    assert done.status == 0, done.err
    return dict(json.loads(done.out.splitlines()[-1]))
