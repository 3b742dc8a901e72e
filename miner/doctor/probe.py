"""What is tried in a process of its own: ``python -m miner.doctor.probe gpu``, or ``background``.

It loads the heavy libraries, touches the card, and prints one JSON object as its last line. A
driver that hangs, or a library that ends the process, takes nothing else with it.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 256
MODULUS = 7
"""Sums of 256 products under 7 * 7 are exact, also in the short formats that cards compute in."""

PICTURE = (1, 3, 1024, 1024)
NUMBERS = {"tensor(float16)": np.float16, "tensor(double)": np.float64}

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"


def gpu(torch: Any) -> dict[str, Any]:
    """What torch sees of CUDA, and whether each device computes rightly.

    Args:
        torch: the library.

    Returns:
        "torch" and "built_for" (versions; the CUDA it was built for, or None), "usable", "reason"
        (why not), "arches" (that it has kernels for), and "devices": "name", "capability", bytes
        "total" and "free", "kernel" ("ok", "wrong" or the error) and "seconds".
    """
    found: dict[str, Any] = {
        "torch": str(torch.__version__),
        "built_for": torch.version.cuda,
        "usable": False,
        "reason": "",
        "cpu_right": computes(torch, torch.device("cpu")),
        "arches": [],
        "devices": [],
    }
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            torch.cuda.init()
            found["usable"] = bool(torch.cuda.is_available()) and torch.cuda.device_count() > 0
        except (RuntimeError, AssertionError, AttributeError) as error:
            found["reason"] = str(error)
    if not found["usable"]:
        found["reason"] = found["reason"] or " ".join(str(one.message) for one in said)
        return found
    found["arches"] = list(torch.cuda.get_arch_list())
    found["devices"] = [device(torch, index) for index in range(torch.cuda.device_count())]
    return found


def device(torch: Any, index: int) -> dict[str, Any]:
    """One card: what it is, and what came of a kernel on it."""
    place = torch.device("cuda", index)
    state: dict[str, Any] = {"name": f"device {index}", "capability": None, "total": 0, "free": 0}
    began = time.monotonic()
    try:
        state["name"] = torch.cuda.get_device_name(index)
        state["capability"] = list(torch.cuda.get_device_capability(index))
        state["free"], state["total"] = torch.cuda.mem_get_info(index)
        kernel = "ok" if computes(torch, place) else "wrong"
    except RuntimeError as error:  # whatever CUDA raises is one
        kernel = (str(error).strip() or type(error).__name__).splitlines()[0]
    return {**state, "kernel": kernel, "seconds": round(time.monotonic() - began, 3)}


def computes(torch: Any, place: Any) -> bool:
    """Whether a product of two matrices on the device is the right one."""
    numbers = torch.arange(SIDE * SIDE, dtype=torch.int64).reshape(SIDE, SIDE)
    left, right = numbers % MODULUS, (3 * numbers) % MODULUS
    product = left.to(place, torch.float32) @ right.to(place, torch.float32)
    return bool((product.cpu().to(torch.int64) == left @ right).all())


def background(onnxruntime: Any, file: Path, cuda: bool) -> dict[str, Any]:
    """On what the background's network runs: it is opened, and one picture goes through it.

    As in a worker, a card that fails leaves the picture to the CPU.

    Args:
        onnxruntime: the library.
        file: the network.
        cuda: whether the pipeline would ask for the card.

    Returns:
        "version", "available" (providers), "provider" (that the picture went through; empty where
        it went through none), "seconds" (of the picture, the first one's preparation included),
        "card" (why the card did not do it) and "reason" (why the CPU did not either).
    """
    available = list(onnxruntime.get_available_providers())
    found: dict[str, Any] = {
        "version": str(onnxruntime.__version__),
        "available": available,
        "provider": "",
        "reason": "",
        "card": "",
        "seconds": 0.0,
    }
    ways = ["card", "reason"] if cuda and CUDA_PROVIDER in available else ["reason"]
    for failure in ways:
        began = time.monotonic()
        try:
            session = _session(onnxruntime, file, failure == "card")
            (taken, *_), (made, *_) = session.get_inputs(), session.get_outputs()
            session.run([made.name], {taken.name: picture(taken.shape, taken.type)})
        except Exception as error:  # the library raises types of its own, some without a base
            found[failure] = (str(error).strip() or type(error).__name__).splitlines()[0]
            continue
        found["provider"] = session.get_providers()[0]
        found["seconds"] = round(time.monotonic() - began, 3)
        break
    return found


def _session(onnxruntime: Any, file: Path, on_card: bool) -> Any:
    """A session with the options of the pipeline's own."""
    # Here, not above: it loads torch and onnxruntime, which ``main`` loads in their order.
    from miner.pipeline.matting_session import cuda_options, session_options  # noqa: PLC0415

    card = [(CUDA_PROVIDER, cuda_options(0, None))] if on_card else []
    return onnxruntime.InferenceSession(
        str(file),
        sess_options=session_options(onnxruntime),
        providers=[*card, CPU_PROVIDER],
        enable_fallback=0,
    )


def picture(shape: Sequence[int | str | None], kind: str) -> NDArray[Any]:
    """Grey levels from 0 to 1, as a network's input wants them.

    Args:
        shape: of the input; what is not a number is that of one picture of 1024 x 1024.
        kind: of its numbers, as "tensor(float)".
    """
    usual = dict(enumerate(PICTURE))
    sizes = [
        size if isinstance(size, int) and size > 0 else usual.get(place, 1)
        for place, size in enumerate(shape)
    ]
    levels = np.linspace(0, 1, math.prod(sizes), dtype=np.float32).reshape(sizes)
    return levels.astype(NUMBERS.get(kind, np.float32))


def main(arguments: list[str]) -> int:
    """Does what the first argument says, and prints it."""
    if arguments[:1] == ["gpu"]:
        import torch  # noqa: PLC0415 - this process is there to load it

        answer = gpu(torch)
    elif arguments[:1] == ["gsplat"]:
        from miner.rendering.gsplat_build import state  # noqa: PLC0415 - it loads torch

        answer = asdict(state())
    else:
        # Torch first, as in a worker: onnxruntime takes the CUDA libraries that are loaded then.
        with contextlib.suppress(ImportError, OSError):
            import torch  # noqa: PLC0415
        import onnxruntime  # noqa: PLC0415

        with contextlib.suppress(Exception):  # a help only: the session decides
            onnxruntime.preload_dlls()

        _, file, device_name = arguments
        answer = background(onnxruntime, Path(file), device_name == "cuda")
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
