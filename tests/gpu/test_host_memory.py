"""How much memory a machine or container has."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.errors import DeviceError
from miner.gpu.host_memory import HostMemory, host_memory

MEMINFO = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\n"


def machine(root: Path, meminfo: str = MEMINFO, **files: str) -> Path:
    """A root folder with the kernel's files."""
    for name, text in {"proc/meminfo": meminfo, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_has_what_the_kernel_says(tmp_path: Path) -> None:
    """Available counts the caches that would be dropped; no limit is no limit."""
    unlimited = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5"}

    assert host_memory(machine(tmp_path)) == HostMemory(1000 * 1024, 600 * 1024)
    assert host_memory(machine(tmp_path, **unlimited)) == HostMemory(1000 * 1024, 600 * 1024)


@pytest.mark.parametrize(
    ("limit_file", "use_file"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_a_container_has_no_more_than_its_limit(
    tmp_path: Path, limit_file: str, use_file: str
) -> None:
    """In both layouts of the kernel's control groups; what is used of it is not free."""
    files = {f"sys/fs/cgroup/{limit_file}": "500000\n", f"sys/fs/cgroup/{use_file}": "200000\n"}

    assert host_memory(machine(tmp_path, **files)) == HostMemory(500_000, 300_000)


@pytest.mark.parametrize("meminfo", ["", "MemTotal: 5 kB\n", "MemTotal: many kB\n", "MemTotal:\n"])
def test_a_kernel_that_does_not_say_is_an_error(tmp_path: Path, meminfo: str) -> None:
    """One line that says so."""
    with pytest.raises(DeviceError, match="does not say"):
        host_memory(machine(tmp_path, meminfo))
