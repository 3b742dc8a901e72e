"""Versions, memory and the number types that torch was set to."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import torch

from tools.card.bench import GIB, Bench
from tools.card.outcome import Outcome

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "bitsandbytes",
    "onnxruntime",
    "onnxruntime-gpu",
    "gsplat",
)


def run(bench: Bench, out: Outcome) -> None:
    """What the machine is, and what a CUDA context takes of it."""
    for library in LIBRARIES:
        out.add(library, _version(library))
    out.add("processor cores", os.cpu_count())
    out.add("TF32 in products", torch.backends.cuda.matmul.allow_tf32)
    out.add("TF32 in convolutions", torch.backends.cudnn.allow_tf32)
    if not bench.device.is_cuda:
        for name in ("total", "free", "context", "used by the driver's count"):
            out.add(name, None, "GiB")
        return
    torch.zeros(1, device=bench.place)  # from here on there is a context
    free, total = torch.cuda.mem_get_info(bench.place)
    out.add("total", total / GIB, "GiB")
    out.add("free", free / GIB, "GiB")
    reserved = torch.cuda.memory_reserved(bench.place)
    out.add("context", (total - free - reserved) / GIB, "GiB")  # with what other processes hold
    used = bench.driver_used()
    out.add("used by the driver's count", None if used is None else used / GIB, "GiB")


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory_of_process() -> int:
    """Bytes of this process that are in the host's memory now; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
