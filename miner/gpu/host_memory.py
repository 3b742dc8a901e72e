"""How much memory this machine has, or the container that we run in where that is less.

Read from the kernel's files, so for Linux; without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from miner.errors import DeviceError

CGROUP_FILES = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container's memory, in the two layouts there are."""


@dataclass(frozen=True)
class HostMemory:
    """Bytes in all, and what could be had now: without the caches that the kernel would drop."""

    total_bytes: int
    free_bytes: int


def host_memory(root: Path = Path("/")) -> HostMemory:
    """What there is now.

    Args:
        root: where the kernel's files are looked for.

    Raises:
        DeviceError: the kernel does not say.
    """
    total, free = _machine(root)
    for limit_file, use_file in CGROUP_FILES:
        limit, used = _number(root / limit_file), _number(root / use_file)
        if limit is not None and used is not None and limit < total:
            total, free = limit, min(free, max(0, limit - used))
    return HostMemory(total, free)


def _machine(root: Path) -> tuple[int, int]:
    values = {}
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            values[name] = int(rest.split()[0]) * 1024  # the kernel counts in KiB
        return values["MemTotal"], values["MemAvailable"]
    except (OSError, ValueError, LookupError) as error:
        raise DeviceError("the kernel does not say how much memory there is") from error


def _number(file: Path) -> int | None:
    """None where there is no file, or no limit: "max"."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
