"""Building gsplat's CUDA kernels once, ahead of time, and loading them without a compiler.

The wheel of gsplat 1.5 on the package index holds sources only. Its module ``gsplat.cuda._backend``
looks for a built ``gsplat.csrc`` first and otherwise starts nvcc, for minutes, wherever it is first
imported: in a worker that would be inside a job. So the kernels are built by a command
(``miner fetch --build-gsplat``), and a worker presents the built library as ``gsplat.csrc``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from miner.settings import build_environment, data_dir

LIBRARY = "gsplat_cuda"
"""gsplat's own name for it: the library's initialiser is compiled under this name."""

RECORD = "build.json"
BUILD_SECONDS = 3600
"""An estimate, far above the minutes that gsplat announces: it ends a compiler that hangs."""

JOBS = 4
"""Compilers at a time at most: an estimate, as each nvcc takes gigabytes of host memory."""

_COMPILE = "import gsplat.cuda._backend as b; raise SystemExit(0 if b._C is not None else 3)"
NO_TOOLKIT = 3

_ERROR = re.compile(r"\berror: |^nvcc fatal|^[\w.]*Error: ")
"""Lines of compilers, of nvcc, and the last of a Python traceback."""

_BEFORE_EVERY_BUILD = ("name 'csrc'", "_jit_compile() missing")
"""What gsplat 1.5.3 catches itself on its way: nothing is built yet, and torch's signature."""

Run = Callable[[list[str], Mapping[str, str]], tuple[int, str]]
"""Runs a command in an environment: its exit status and the last line that it wrote."""


@dataclass(frozen=True)
class State:
    """Whether gsplat's kernels can be loaded.

    Attributes:
        status: ``absent`` gsplat is not installed; ``ready`` a library is there; ``unbuilt`` none
            was built for these versions; ``failed`` building it was tried and failed.
        reason: one line; for the last two what to do.
    """

    status: Literal["absent", "ready", "unbuilt", "failed"]
    reason: str


class Kernels:
    """The kernels built for one set of versions.

    Args:
        root: holds a folder for each set of versions.
        versions: of gsplat, torch, CUDA and Python; another set is another folder, so that a
            library is never loaded into versions that it was not built for, and a failed build
            is tried again when one of them changes.
        run: runs the compiling process.
    """

    def __init__(self, root: Path, versions: Mapping[str, str], run: Run | None = None) -> None:
        self.folder = root / "-".join(f"{name}{version}" for name, version in versions.items())
        self.library = self.folder / LIBRARY / f"{LIBRARY}.so"
        self._run = run or _run

    def state(self, architecture: str = "") -> State:
        """Looks at files only; imports and compiles nothing.

        Args:
            architecture: compute capability, such as ``8.9``, that the library must be built for;
                any when not given.
        """
        record = self._read()
        built_for = record.get("architectures", "").split(";")
        if record.get("status") == "built" and self.library.is_file():
            if architecture and architecture not in built_for:
                return State(
                    "unbuilt",
                    f"gsplat's kernels are built for compute capability {', '.join(built_for)} and "
                    f"not for {architecture}; run: miner fetch --build-gsplat",
                )
            return State("ready", str(self.library))
        if record.get("status") == "failed":
            return State(
                "failed",
                f"gsplat's kernels could not be built: {record.get('reason')}; "
                "when that is put right run: miner fetch --build-gsplat",
            )
        return State("unbuilt", "gsplat's kernels are not built; run: miner fetch --build-gsplat")

    def build(self, architectures: str, again: bool = False) -> State:
        """Compiles the kernels in a process of its own; minutes.

        Args:
            architectures: as TORCH_CUDA_ARCH_LIST, such as ``8.9``.
            again: also after a build that failed with the same versions and compiler.

        Raises:
            OSError: the folder cannot be written.
        """
        environ = build_environment(
            {
                "TORCH_EXTENSIONS_DIR": str(self.folder),
                "TORCH_CUDA_ARCH_LIST": architectures,
                "MAX_JOBS": str(min(JOBS, os.cpu_count() or 1)),
            }
        )
        compiler = _compiler(environ)
        record = self._read()
        same = (record.get("architectures"), record.get("compiler")) == (architectures, compiler)
        if same and (self.state().status == "ready" or (record and not again)):
            return self.state()
        self.folder.mkdir(parents=True, exist_ok=True)
        status, said = self._run([sys.executable, "-c", _COMPILE], environ)
        built = status == 0 and self.library.is_file()
        reason = "no CUDA toolkit (nvcc) was found" if status == NO_TOOLKIT else said
        record = {
            "status": "built" if built else "failed",
            "architectures": architectures,
            "compiler": compiler,
            "reason": "" if built else reason or f"the compiling process ended with {status}",
        }
        (self.folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
        return self.state()

    def _read(self) -> dict[str, str]:
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def state() -> State:
    """Whether gsplat's kernels can be loaded here; imports no gsplat and compiles nothing."""
    if importlib.util.find_spec("gsplat") is None:
        return State("absent", "gsplat is not installed")
    if _shipped():
        return State("ready", "gsplat was installed with its kernels built")
    return kernels().state()


def build(again: bool = False) -> State:
    """Builds the kernels for the cards of this machine, unless they are there.

    Args:
        again: also after a build that failed with the same versions and compiler.

    Raises:
        OSError: the folder cannot be written.
    """
    found = state()
    if found.status == "absent" or _shipped():
        return found
    if not torch.cuda.is_available():
        return State("unbuilt", "gsplat's kernels are built on a machine with a CUDA device only")
    capabilities = {
        torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())
    }
    return kernels().build(";".join(f"{a}.{b}" for a, b in sorted(capabilities)), again)


def load(found: Kernels, architecture: str = "") -> None:
    """Makes ``gsplat.csrc`` the built library, so that gsplat starts no compiler.

    Args:
        found: where the library is.
        architecture: as for ``Kernels.state``.

    Raises:
        ImportError: there is no library; nothing of gsplat was imported.
        Exception: whatever a library of other versions raises while it is loaded.
    """
    if _shipped():
        return
    state = found.state(architecture)
    if state.status != "ready":
        raise ImportError(state.reason)
    spec = importlib.util.spec_from_file_location(LIBRARY, found.library)
    if spec is None or spec.loader is None:
        raise ImportError(f"{found.library}: not a library that Python can load")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    package = importlib.import_module("gsplat")
    sys.modules["gsplat.csrc"] = module
    package.csrc = module  # type: ignore[attr-defined]  # what ``from gsplat import csrc`` reads


@functools.cache
def kernels() -> Kernels:
    """Returns the kernels for the installed versions, in the folder of the program's data."""
    versions = {
        "gsplat": importlib.metadata.version("gsplat"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "py": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    return Kernels(data_dir() / "kernels", versions)


def _shipped() -> bool:
    """Whether gsplat came with a built library: its own wheels for one torch and CUDA do."""
    found = importlib.util.find_spec("gsplat")
    folders = found.submodule_search_locations or [] if found else []
    names = [f"csrc{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    return any((Path(folder) / name).is_file() for folder in folders for name in names)


def _compiler(environ: Mapping[str, str]) -> str:
    """The compiler's path and time of change: another toolkit is another reason to try again."""
    home = environ.get("CUDA_HOME") or environ.get("CUDA_PATH") or "/usr/local/cuda"
    path = shutil.which("nvcc", path=f"{home}/bin") or shutil.which("nvcc")
    return f"{path} {Path(path).stat().st_mtime_ns}" if path else "none"


def _run(command: list[str], environ: Mapping[str, str]) -> tuple[int, str]:
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a constant program
            command,
            env=dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return 1, str(error).splitlines()[0]
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    # The first error is the cause: gsplat answers a failed build by loading what is not there.
    errors = [
        line
        for line in lines
        if _ERROR.search(line) and not any(text in line for text in _BEFORE_EVERY_BUILD)
    ]
    return done.returncode, (errors[:1] or lines[-1:] or [""])[0][:300]
