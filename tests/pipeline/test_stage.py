"""The border where foreign errors become ours, and what it measures."""

from __future__ import annotations

import errno

import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from miner.errors import BadOutput, JobCancelled, MinerError, OutOfMemory, StageError
from miner.gpu.device import choose_device
from miner.pipeline.stage import CancelFlag, Timings, stage

CPU = choose_device("cpu")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
        (RuntimeError("BFCArena: Failed to allocate memory for requested buffer"), OutOfMemory),
        (RuntimeException("BFCArena: Failed to allocate memory for requested buffer"), OutOfMemory),
        (RuntimeError("CUDA error: out of memory"), OutOfMemory),
        (RuntimeError("CUDA driver error: out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling"), OutOfMemory),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), OutOfMemory),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), OutOfMemory),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), OutOfMemory),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR"), OutOfMemory),
        (RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "x.cpp"'), OutOfMemory),
        (RuntimeError("Triton Error [CUDA]: out of memory"), OutOfMemory),
        (RuntimeException("CUBLAS failure 1: CUBLAS_STATUS_NOT_INITIALIZED"), OutOfMemory),
        (RuntimeException("RUNTIME_EXCEPTION : std::bad_alloc"), OutOfMemory),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemory),
        (OSError(errno.ENOENT, "No such file"), StageError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling"), StageError),
        (ValueError("CUDA out of memory"), StageError),
        (RuntimeException("Non-zero status code returned"), StageError),
        (RuntimeError("shapes differ"), StageError),
        (KeyError("x"), StageError),
        (ValueError(), StageError),
    ],
)
def test_foreign_errors_get_the_name_of_the_stage(
    raised: Exception, expected: type[StageError]
) -> None:
    """Whatever a library raises becomes one of ours, with the stage's name and its cause kept."""
    with (
        pytest.raises(StageError, match=r"^painting: ") as caught,
        stage("painting", CPU, {}, CancelFlag()),
    ):
        raise raised

    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raised", [BadOutput("b", "no"), MinerError("x"), KeyboardInterrupt()])
def test_our_errors_and_interrupts_pass_through(raised: BaseException) -> None:
    """An error that is ours already is not wrapped, and neither is an interrupt."""
    with pytest.raises(type(raised)) as caught, stage("a", CPU, {}, CancelFlag()):
        raise raised

    assert caught.value is raised


def test_a_cancelled_stage_does_not_begin() -> None:
    """With the flag set the block is not entered and no time is noted."""
    cancel, timings, entered = CancelFlag(), Timings(), []
    cancel.set()
    with pytest.raises(JobCancelled), stage("a", CPU, timings, cancel):
        entered.append(True)

    assert entered == []
    assert timings == {}


def test_time_is_noted_also_of_a_stage_that_fails() -> None:
    """Two runs of a stage add up, and a failed one counts."""
    timings: Timings = {}
    with pytest.raises(StageError), stage("a", CPU, timings, CancelFlag()):
        raise ValueError
    once = timings["a"]
    with stage("a", CPU, timings, CancelFlag()):
        pass

    assert timings["a"] >= once > 0
