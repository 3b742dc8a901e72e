"""How the matting network is opened and run: on the GPU with little memory, or on the CPU, said."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from rembg.sessions import sessions_class

from miner.pipeline.background import BackgroundRemover
from miner.pipeline.matting_session import MattingSession, session_options, why_not_loaded
from miner.settings import BackgroundSettings
from tests.fakes.cards import FakeCard, fake_card
from tests.fakes.onnx_runtime import CPU, GPU, FakeRuntime, RuntimeFailure
from tests.pipeline.tiny import disc, write_matting

PHOTO = Image.new("RGB", (100, 80), (200, 40, 40))
FILE = Path("m.onnx")
SETTINGS = BackgroundSettings.model_validate({"weights": "m", "model": "u2net_custom"})
SHRUNK = {"memory.enable_memory_arena_shrinkage": "gpu:0"}


def remover(runtime: FakeRuntime, limit_bytes: int | None = None) -> BackgroundRemover:
    return BackgroundRemover.load(FILE, SETTINGS, fake_card(), limit_bytes, runtime)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_session_on_the_gpu_takes_what_it_needs_and_no_more() -> None:
    """No doubling, no search with the largest workspace, and the plan's limit."""
    runtime = FakeRuntime()
    ours = remover(runtime, limit_bytes=700_000_000)

    assert ours.provider == GPU
    assert runtime.sessions[0].arguments["providers"] == [
        (
            GPU,
            {
                "device_id": "0",
                "arena_extend_strategy": "kSameAsRequested",
                "cudnn_conv_algo_search": "HEURISTIC",
                "cudnn_conv_use_max_workspace": "0",
                "gpu_mem_limit": "700000000",
            },
        ),
        CPU,
    ]


def test_without_a_limit_none_is_passed() -> None:
    """onnxruntime reads a limit as a number: there is no text for none."""
    runtime = FakeRuntime()
    remover(runtime)

    assert "gpu_mem_limit" not in runtime.sessions[0].arguments["providers"][0][1]


def test_the_gpus_memory_is_handed_back_after_each_run_but_the_first() -> None:
    """The first keeps it, so that the most can be read; later ones shrink the arena."""
    runtime = FakeRuntime()
    ours = remover(runtime)
    for _ in range(3):
        ours.cut_out(PHOTO)

    assert [options for _, options in runtime.sessions[0].runs] == [{}, SHRUNK, SHRUNK]


def test_a_session_on_the_cpu_is_asked_for_nothing_of_a_gpu(tmp_path: Path) -> None:
    """There is no arena to shrink; onnxruntime would refuse the run."""
    write_matting(tmp_path / "m.onnx", disc())
    ours = BackgroundRemover.load(tmp_path / "m.onnx", SETTINGS, None)
    ours.cut_out(PHOTO)
    ours.cut_out(PHOTO)

    assert ours.provider == CPU


def test_no_session_keeps_memory_on_the_host() -> None:
    """The CPU's arena would keep the most that any run took."""
    assert session_options().enable_cpu_mem_arena is False
    runtime = FakeRuntime()
    remover(runtime)
    assert runtime.sessions[0].arguments["sess_options"].enable_cpu_mem_arena is False


@dataclass(frozen=True)
class Card(FakeCard):
    """Remembers when torch's memory was handed back."""

    happened: list[str] = field(default_factory=list)

    def release(self) -> None:
        """As asked."""
        self.happened.append("release")


def test_torchs_unused_memory_and_the_libraries_come_first() -> None:
    """What torch keeps would starve onnxruntime, and libraries that are missing would fail it."""
    runtime = FakeRuntime()
    card = Card(torch.device("cpu"), "card", happened=runtime.happened)
    BackgroundRemover.load(FILE, SETTINGS, card, None, runtime)

    assert runtime.happened == ["release", "preload", "session"]


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        (FakeRuntime(available=[CPU]), "onnxruntime-gpu"),
        (FakeRuntime(silent=True, complaint="Failed to load libcublasLt.so.13: no"), "libcublasLt"),
        (FakeRuntime(broken=RuntimeFailure("CUDNN_STATUS_NOT_INITIALIZED")), "CUDNN_STATUS_NOT"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_one_warning(
    runtime: FakeRuntime,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With what was seen; the network then runs on the CPU and says so."""
    ours = remover(runtime)
    ours.cut_out(PHOTO)

    assert ours.provider == CPU
    (said,) = warnings(caplog)
    assert "CPU" in said
    assert reason in said
    assert capsys.readouterr().out == ""
    assert runtime.sessions[0].runs[0][1] == {}


def test_a_silent_change_without_a_complaint_has_the_linkers_reason(tmp_path: Path) -> None:
    """The dynamic linker names the library that is missing."""
    assert "no-such.so" in why_not_loaded(tmp_path / "no-such.so")
    (tmp_path / "bad.so").write_bytes(b"no library")
    assert "bad.so" in why_not_loaded(tmp_path / "bad.so")


def test_onnxruntimes_own_silent_change_is_off() -> None:
    """It would go on with the CPU for good, with a line on standard output."""
    runtime = FakeRuntime()
    remover(runtime)

    assert runtime.sessions[0].arguments["enable_fallback"] == 0


def test_a_gpu_that_fails_in_a_run_is_given_up_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The picture is cut out on the CPU, and those after it."""
    runtime = FakeRuntime(failing=RuntimeFailure("CUDNN failure 4"))
    ours = remover(runtime)
    ours.cut_out(PHOTO)
    ours.cut_out(PHOTO)

    assert ours.provider == CPU
    assert len(runtime.sessions) == 2
    (said,) = warnings(caplog)
    assert "CUDNN failure 4" in said


def test_a_lack_of_memory_in_a_run_is_not_the_end_of_the_gpu(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the stage's to go on with less, for this once."""
    runtime = FakeRuntime(failing=RuntimeFailure("Failed to allocate memory for buffer"))
    ours = remover(runtime)
    with pytest.raises(RuntimeFailure):
        ours.cut_out(PHOTO)
    cutout = ours.cut_out(PHOTO, on_cpu=True)

    assert cutout.mode == "RGBA"
    assert (ours.provider, runtime.sessions[1].provider) == (GPU, CPU)
    assert warnings(caplog) == []


def test_only_the_first_output_is_asked_for() -> None:
    """rembg asks for all; each would be copied from the GPU."""
    runtime = FakeRuntime()
    remover(runtime).cut_out(PHOTO)

    assert runtime.sessions[0].runs[0][0] == ["mask"]


def test_outputs_at_the_side_are_not_fetched(tmp_path: Path) -> None:
    """Of a network with two outputs the first comes back, and its range is kept."""
    write_matting(tmp_path / "m.onnx", disc(0.8))
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node.append(helper.make_node("Neg", ["out"], ["side"]))
    model.graph.output.append(helper.make_tensor_value_info("side", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "m.onnx")
    session = MattingSession(tmp_path / "m.onnx")
    inputs = {"picture": np.ones((1, 3, 320, 320), np.float32)}

    (mask,) = session.run(None, inputs)
    assert mask.shape == (1, 1, 320, 320)
    assert session.range == (0.0, pytest.approx(0.8))


@pytest.mark.parametrize("model", ["isnet-general-use", "u2net_custom", "birefnet-general"])
def test_pictures_are_prepared_as_rembg_does_it(model: str) -> None:
    """In float32, to the last bits: within 1e-6 of values of up to 2.7."""
    kind = next(kind for kind in sessions_class if kind.name() == model)
    seen: list[np.ndarray] = []

    runtime = FakeRuntime()
    settings = BackgroundSettings.model_validate({"weights": "m", "model": model})
    ours = BackgroundRemover.load(FILE, settings, None, None, runtime)
    theirs = kind.__new__(kind)
    for session in (ours._rembg, theirs):
        session.inner_session = runtime.sessions[0]
    runtime.sessions[0].run = lambda _names, inputs, *_: (  # type: ignore[method-assign]
        seen.append(inputs["picture"]) or [disc()[None, None]]
    )
    noise = np.random.default_rng(0).integers(0, 200, (90, 130, 3), np.uint8)
    ours._rembg.predict(Image.fromarray(noise))
    theirs.predict(Image.fromarray(noise))

    assert seen[0].dtype == seen[1].dtype == np.float32
    assert seen[0].shape == seen[1].shape
    assert np.abs(seen[0] - seen[1]).max() < 1e-6
