"""How libraries say that memory ran out. Loads none of them, so that any process may ask."""

from __future__ import annotations

import errno
from typing import Final

SHORTAGES: Final = (
    "DefaultCPUAllocator: can't allocate",  # torch on the CPU
    "DefaultCPUAllocator: not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",  # of the runtime: pinned memory, or a kernel's own
    "CUDA driver error: out of memory",  # torch maps another part of a segment that can grow
    "CUDA_ERROR_OUT_OF_MEMORY",
    "NVML_SUCCESS ==",  # torch's allocator, out of memory, while it asks NVML who holds it
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE
    "_STATUS_NOT_INITIALIZED",  # likewise, when they make a handle on a full card
    "CUDNN_STATUS_INTERNAL_ERROR",  # cuDNN's handle and workspace, likewise; cuDNN 9 adds which
    "CUSOLVER_STATUS_INTERNAL_ERROR",
    "Triton Error [CUDA]: out of memory",
    "Failed to allocate memory",  # onnxruntime's arena
    "CUDA failure 2: out of memory",  # onnxruntime, of the driver
    "std::bad_alloc",  # C++ on the host; onnxruntime passes its text on
)
"""What libraries say when memory ran out and they do not raise an error made for it.

A library that cannot make its handle says only that; on a sound installation a full card is why.
On a broken one each of these leads to one more try, which fails in the same way.
"""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library says, in any of the ways known, that memory ran out."""
    if isinstance(error, MemoryError) or _is_torch_s(error):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:  # a file could not be mapped
        return True
    theirs = type(error).__module__.startswith("onnxruntime")  # its errors are no RuntimeError
    text = str(error)
    return (theirs or isinstance(error, RuntimeError)) and any(one in text for one in SHORTAGES)


def _is_torch_s(error: BaseException) -> bool:
    """``torch.OutOfMemoryError`` and its heirs, by name: torch may not be loaded."""
    names = [(kind.__module__, kind.__name__) for kind in type(error).__mro__]
    return any(name == "OutOfMemoryError" and place.startswith("torch") for place, name in names)
