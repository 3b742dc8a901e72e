"""What a daemon takes up, itself and its bridge to Ray: what must not grow with its work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.app.running import Running


@dataclass(frozen=True)
class Footprint:
    """Of the daemon's own processes; its workers have limits of their own."""

    resident_bytes: int
    descriptors: int

    @classmethod
    def of(cls, running: Running) -> Footprint:
        """As it is now."""
        assert running.process is not None
        pids = [running.process.pid, *bridges(running.process.pid)]
        return cls(sum(map(_resident_bytes, pids)), sum(map(_descriptors, pids)))


def bridges(pid: int) -> Iterator[int]:
    """Which of a daemon's children speak to Ray for it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            if b"miner.ray_workers.bridge" in Path(f"/proc/{child}/cmdline").read_bytes():
                yield child


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
