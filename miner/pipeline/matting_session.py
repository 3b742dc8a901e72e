"""The matting network in onnxruntime: how it is opened, on the GPU or the CPU, and how it is run.

Left to itself onnxruntime takes memory greedily and keeps it, and where the GPU cannot be used it
goes on with the CPU with a line on standard output or standard error at most. Here it takes what it
needs, hands it back after each run, and a change to the CPU is a warning with its reason.
"""

from __future__ import annotations

import ctypes
import io
import logging
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from miner.gpu.device import Device
from miner.pipeline.stage import is_out_of_memory

CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"

SHRINK = "memory.enable_memory_arena_shrinkage"
"""onnxruntime's key for handing an arena's free memory back after a run."""

CUDA_LIBRARY = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
"""What onnxruntime loads for a GPU; the libraries it needs are not part of the package."""

log = logging.getLogger(__name__)


class MattingSession:
    """One network, with the methods of onnxruntime's session that rembg uses.

    One caller at a time.

    Args:
        file: in ONNX.
        device: where it is wanted; None is the CPU, as is any device that is no GPU.
        limit_bytes: the most that its arena, weights included, may take of the GPU; None is no
            limit.
        runtime: onnxruntime, or what has its functions.

    Attributes:
        range: smallest and largest value of the last first output.
    """

    def __init__(
        self,
        file: Path,
        device: Device | None = None,
        limit_bytes: int | None = None,
        runtime: Any = onnxruntime,
    ) -> None:
        self.range = (0.0, 0.0)
        self._file = file
        self._runtime = runtime
        self._shrink: Any = None  # options of a run, from the second run on a GPU on
        self._gpu = 0
        self._session: Any = self._open_on(device, limit_bytes) if device else None
        if self._session is None:
            self._session = self._open([CPU])
        self._first: str = self._session.get_outputs()[0].name

    @property
    def provider(self) -> str:
        """Which of onnxruntime's providers runs it now, as the session itself says."""
        return str(self._session.get_providers()[0])

    def on_cpu(self) -> MattingSession:
        """The same network on the CPU, beside this one."""
        return MattingSession(self._file, runtime=self._runtime)

    def get_inputs(self) -> Any:
        """As onnxruntime's."""
        return self._session.get_inputs()

    def run(self, _names: object, inputs: dict[str, Any]) -> list[NDArray[np.float32]]:
        """Runs the network; the first output, in a list, whatever was asked for.

        rembg asks for all and reads the first. An export with side outputs would copy each of them
        from the GPU: up to six more masks.

        A GPU that fails for another reason than a lack of memory is given up, with a warning.
        """
        try:
            outputs = self._session.run([self._first], inputs, self._shrink)
        except Exception as error:  # onnxruntime's errors have no common base
            if self.provider == CPU or is_out_of_memory(error):
                raise
            self._shrink, self._session = None, self._open([CPU])
            _warn(f"{type(error).__name__}: {_line(error)}")
            outputs = self._session.run([self._first], inputs, None)
        if self._shrink is None and self.provider == GPU:
            self._shrink = self._shrinking()
        mask: NDArray[np.float32] = outputs[0]
        self.range = float(mask.min()), float(mask.max())
        return [mask]

    def _shrinking(self) -> Any:
        """The first run keeps its memory, so that the most it takes can be read after it."""
        options = self._runtime.RunOptions()
        options.add_run_config_entry(SHRINK, f"gpu:{self._gpu}")
        return options

    def _open_on(self, device: Device, limit_bytes: int | None) -> Any:
        """A session on the GPU; None where there is none, or none that onnxruntime can use."""
        if not device.is_cuda:
            return None
        if GPU not in self._runtime.get_available_providers():
            _warn("this build of onnxruntime has no CUDA; install onnxruntime-gpu[cuda,cudnn]")
            return None
        device.release()  # what torch keeps for later would be missing here
        said = self._preload()
        self._gpu = device.torch_device.index or 0
        try:
            session = self._open([(GPU, cuda_options(self._gpu, limit_bytes)), CPU])
        except Exception as error:  # as above; a broken file fails once more on the CPU
            _warn(f"{type(error).__name__}: {_line(error)}")
            return None
        if session.get_providers()[0] != GPU:
            _warn(said or why_not_loaded())
        return session

    def _preload(self) -> str:
        """Loads the CUDA libraries that torch, imported before, did not; the first complaint."""
        preload = getattr(self._runtime, "preload_dlls", None)  # since onnxruntime 1.21
        said = io.StringIO()
        if preload is not None:
            try:
                with redirect_stdout(said):
                    preload()
            except Exception as error:  # it is a help only: the session itself decides
                return _line(error)
        return next((line for line in said.getvalue().splitlines() if "Failed" in line), "")

    def _open(self, providers: list[Any]) -> Any:
        """A session. Its own change to other providers is off: it is silent, and for good."""
        return self._runtime.InferenceSession(
            str(self._file),
            sess_options=session_options(self._runtime),
            providers=providers,
            enable_fallback=0,
        )


def session_options(runtime: Any = onnxruntime) -> Any:
    """Of any session: no memory on the host beyond the run that needs it.

    The arena of the CPU keeps the most that any run took, and the memory pattern's block comes
    beside it from the second run on; without the arena a process with a network of IS-Net's size
    holds 525 MB after a picture instead of 1,509, for a sixth more of the processors' time
    (``tests/benchmarks/bench_matting.py``).
    """
    options = runtime.SessionOptions()
    options.enable_cpu_mem_arena = False
    return options


def cuda_options(gpu: int, limit_bytes: int | None) -> dict[str, str]:
    """Of the CUDA provider.

    The defaults round each piece of memory up to a power of two, and measure every algorithm of
    each convolution with the largest workspace that fits.

    Args:
        gpu: CUDA's index in this process.
        limit_bytes: of the arena; None is no limit.
    """
    options = {
        "device_id": str(gpu),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "0",
    }
    return options if limit_bytes is None else options | {"gpu_mem_limit": str(limit_bytes)}


def why_not_loaded(library: Path = CUDA_LIBRARY) -> str:
    """Why onnxruntime could not load its part for GPUs, as the dynamic linker says it."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return _line(error)
    return "no reason found; onnxruntime's own lines are on the process's standard error"


def _warn(reason: str) -> None:
    log.warning("the matting network runs on the CPU, not on the GPU as planned: %s", reason)


def _line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0][:300]
