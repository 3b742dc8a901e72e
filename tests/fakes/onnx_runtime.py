"""onnxruntime as it behaves on a machine with a GPU, without one: it remembers what was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"


class RuntimeFailure(Exception):
    """As onnxruntime's are, an exception of its own."""


RuntimeFailure.__module__ = "onnxruntime.capi"


class Options:
    """Of a run or a session; what is set is kept."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        """As onnxruntime's."""
        self.entries[key] = value


@dataclass
class FakeRuntime:
    """onnxruntime's functions.

    Attributes:
        available: providers of the build.
        broken: raised when a session is made on the GPU.
        silent: a session wanted on the GPU is one on the CPU, without a word.
        failing: raised by a run on the GPU.
        complaint: printed by ``preload_dlls``.
        happened: what was called, in order.
        sessions: that were made.
    """

    available: Sequence[str] = (GPU, CPU)
    broken: Exception | None = None
    silent: bool = False
    failing: Exception | None = None
    complaint: str = ""
    happened: list[str] = field(default_factory=list)
    sessions: list[FakeSession] = field(default_factory=list)
    SessionOptions: Callable[[], Any] = Options
    RunOptions: Callable[[], Any] = Options

    def get_available_providers(self) -> list[str]:
        """As onnxruntime's."""
        return list(self.available)

    def preload_dlls(self) -> None:
        """Says what is missing on standard output, as onnxruntime does."""
        self.happened.append("preload")
        if self.complaint:
            print(self.complaint)

    def InferenceSession(self, _path: str, **arguments: Any) -> FakeSession:
        """A session, with everything it was asked for."""
        self.happened.append("session")
        wanted = arguments["providers"][0]
        on_gpu = wanted != CPU
        if on_gpu and self.broken is not None:
            raise self.broken
        session = FakeSession(self, GPU if on_gpu and not self.silent else CPU, arguments)
        self.sessions.append(session)
        return session


@dataclass
class FakeSession:
    """Answers a disc of 320 px, and remembers each run's outputs and options."""

    runtime: FakeRuntime
    provider: str
    arguments: dict[str, Any]
    runs: list[tuple[Any, dict[str, str]]] = field(default_factory=list)

    def get_providers(self) -> list[str]:
        """The one that works first."""
        return [self.provider, CPU] if self.provider == GPU else [CPU]

    def get_inputs(self) -> list[Any]:
        """One."""
        return [SimpleNamespace(name="picture")]

    def get_outputs(self) -> list[Any]:
        """The mask, and one at the side."""
        return [SimpleNamespace(name="mask"), SimpleNamespace(name="side")]

    def run(self, names: Any, _inputs: Any, options: Options | None = None) -> list[Any]:
        """The mask, as often as outputs were asked for."""
        self.runs.append((names, {} if options is None else options.entries))
        if self.provider == GPU and self.runtime.failing is not None:
            raise self.runtime.failing
        rows, columns = np.mgrid[-1:1:320j, -1:1:320j]
        mask = (np.hypot(rows, columns) < 0.5).astype(np.float32)[None, None]
        return [mask for _ in names or ("mask", "side")]
