"""Whether driver, torch and onnxruntime-gpu are of one CUDA.

onnxruntime-gpu brings no CUDA libraries: it takes those that torch has loaded, which are there only
under the same major version.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from miner.doctor.asking import in_thread
from miner.doctor.cards import cards
from miner.doctor.case import Case
from miner.doctor.finding import Finding, ok, skip, warn
from miner.doctor.gpu import first_gpu, seen_by_torch
from miner.gpu.kernels import DRIVER_FOR, LAST_FOR_CUDA_12

BOTH = (
    ".venv/bin/python -m pip install --upgrade torch 'onnxruntime-gpu[cuda,cudnn]', "
    "both built for CUDA 13"
)


async def look_at_cuda(case: Case) -> Finding:
    """Compares what the two libraries were built for, and the driver with that."""
    there = await cards(case)
    if case.settings.device == "cpu" or not there.there:
        return skip("the CPU computes")
    seen = await seen_by_torch(case, first_gpu(case))
    torch_for = None if "failed" in seen else seen["built_for"]
    if torch_for is None:
        return skip("no torch for CUDA", "see gpu")
    return judge(torch_for, await in_thread(onnxruntime_built_for), there.driver, seen["usable"])


def judge(torch_for: str, onnxruntime_for: str, driver: str, usable: bool = True) -> Finding:
    """The three versions beside each other.

    Args:
        torch_for: the CUDA that torch was built for, as "13.0".
        onnxruntime_for: likewise of onnxruntime; empty of a build for the CPU.
        driver: its version, as "580.95.05"; empty where it is not known.
        usable: whether torch can use the card: a newer CUDA may be made to run on an old driver.
    """
    said = f"torch is built for CUDA {torch_for}"
    least = DRIVER_FOR.get(major(torch_for) or 0, 0)
    if not usable and is_older(driver, least):
        line = f"{said}, which needs driver {least} or later; here is {driver}"
        return warn(line, "torch cannot use the card", update(driver))
    if onnxruntime_for and major(onnxruntime_for) != major(torch_for):
        line = f"{said}, onnxruntime-gpu for CUDA {onnxruntime_for}"
        reason = "onnxruntime-gpu finds no CUDA libraries of its version and computes on the CPU"
        return warn(line, reason, update(driver))
    beside = f"onnxruntime-gpu for CUDA {onnxruntime_for}" if onnxruntime_for else "onnxruntime not"
    return ok(", ".join(filter(None, (said, beside, driver and f"driver {driver}"))))


def update(driver: str) -> str:
    """What brings all three to CUDA 13, and what to do where the driver has to stay."""
    least = DRIVER_FOR[13]
    if is_older(driver, least):
        return (
            f"update the driver to {least} or later (here is {driver}) and {BOTH}; "
            f"with this driver: torch built for CUDA 12.6 and {LAST_FOR_CUDA_12}"
        )
    return f"{BOTH} (driver {least} or later)"


def is_older(driver: str, least: int) -> bool:
    """Whether a driver is known to be older than a major version."""
    number = major(driver)
    return number is not None and number < least


def major(version: str) -> int | None:
    """The first number of a version; None where there is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else None


def onnxruntime_built_for() -> str:
    """The CUDA of the onnxruntime that is installed, without loading it; empty where it has none.

    It is read from the file that the package itself imports.
    """
    try:
        spec = find_spec("onnxruntime")
    except (ImportError, ValueError):
        return ""
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if version := read_build(Path(folder) / "capi" / "build_and_package_info.py"):
            return version
    return ""


def read_build(file: Path) -> str:
    """``cuda_version`` as the file assigns it; empty where it does not."""
    try:
        lines = ast.parse(file.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return ""
    for line in lines:
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
            names = [name.id for name in line.targets if isinstance(name, ast.Name)]
            if names == ["cuda_version"]:
                return str(line.value.value or "")
    return ""
