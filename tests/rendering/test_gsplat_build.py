"""gsplat's kernels: built by a command, loaded by a worker, and never the other way round."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from miner.rendering.gsplat_build import NO_TOOLKIT, Kernels, load
from miner.rendering.rasterize_cuda import loads

VERSIONS = {"gsplat": "1.5.3", "torch": "2.13.0", "cuda": "13.0"}


class Compiler:
    """Plays the compiling process: leaves a library where torch would, or fails."""

    def __init__(self, status: int = 0, said: str = "") -> None:
        self.status = status
        self.said = said
        self.environments: list[Mapping[str, str]] = []

    def __call__(self, command: list[str], environ: Mapping[str, str]) -> tuple[int, str]:
        self.environments.append(environ)
        if self.status == 0:
            folder = Path(environ["TORCH_EXTENSIONS_DIR"]) / "gsplat_cuda"
            folder.mkdir()
            (folder / "gsplat_cuda.so").write_bytes(b"not a library")
        return self.status, self.said


def test_a_build_is_for_the_cards_and_done_once(tmp_path: Path) -> None:
    """The compiler gets the cards' architectures; a second call finds the library."""
    compiler = Compiler()
    kernels = Kernels(tmp_path, VERSIONS, compiler)
    assert kernels.state().status == "unbuilt"
    assert kernels.build("8.6;8.9").status == "ready"
    assert kernels.build("8.6;8.9", again=True).status == "ready"

    assert [e["TORCH_CUDA_ARCH_LIST"] for e in compiler.environments] == ["8.6;8.9"]
    assert kernels.state("8.9").status == "ready"
    assert kernels.state("12.0").status == "unbuilt"
    assert "8.6, 8.9 and not for 12.0" in kernels.state("12.0").reason


def test_a_failed_build_is_remembered(tmp_path: Path) -> None:
    """It is tried again when a version changes or when that is asked for, and not otherwise."""
    compiler = Compiler(1, "error: unsupported GNU version")
    kernels = Kernels(tmp_path, VERSIONS, compiler)
    assert "unsupported GNU version" in kernels.build("8.9").reason
    assert kernels.build("8.9").status == "failed"
    assert len(compiler.environments) == 1

    kernels.build("8.9", again=True)
    Kernels(tmp_path, {**VERSIONS, "torch": "2.14.0"}, compiler).build("8.9")
    assert len(compiler.environments) == 3


def test_a_missing_toolkit_is_named(tmp_path: Path) -> None:
    """The line says what was not found and which command to run then."""
    reason = Kernels(tmp_path, VERSIONS, Compiler(NO_TOOLKIT)).build("8.9").reason
    assert "nvcc" in reason
    assert "miner fetch --build-gsplat" in reason


def test_loading_without_a_build_is_refused_before_gsplat_is_imported(tmp_path: Path) -> None:
    """gsplat's own loader, which would compile, is not reached."""
    with pytest.raises(ImportError, match="miner fetch --build-gsplat"):
        load(Kernels(tmp_path, VERSIONS))
    assert "gsplat.cuda._backend" not in sys.modules


def test_a_library_that_does_not_load_means_not_available(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises is one warning, and plain torch rasterises."""
    kernels = Kernels(tmp_path, VERSIONS, Compiler())
    kernels.build("8.9")
    with caplog.at_level(logging.WARNING):
        assert not loads(kernels, "8.9")
    assert len(caplog.records) == 1
    assert "plain torch rasterises" in caplog.text


@pytest.mark.skipif(importlib.util.find_spec("gsplat") is None, reason="gsplat is not installed")
def test_no_compiler_starts_when_kernels_are_looked_for(tmp_path: Path) -> None:
    """With a toolkit at hand and nothing built the answer is no, and nvcc was not run."""
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    nvcc.chmod(0o755)
    program = (
        "from pathlib import Path; from miner.rendering.gsplat_build import Kernels; "
        "from miner.rendering.rasterize_cuda import loads; "
        f"assert not loads(Kernels(Path({str(tmp_path)!r}), {VERSIONS!r}))"
    )
    environ = {
        **os.environ,
        "CUDA_HOME": str(tmp_path),
        "TORCH_EXTENSIONS_DIR": str(tmp_path / "built"),
    }
    subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True)

    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "built").exists()
