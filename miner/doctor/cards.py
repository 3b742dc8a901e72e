"""Which NVIDIA cards this machine has, by whoever knows of them, without touching one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from miner.doctor.asking import in_thread
from miner.doctor.case import Case

NVIDIA = "0x10de"
DISPLAY = "0x03"
"""How the class of a graphics card begins, in PCI's numbers; sound and USB parts have others."""


@dataclass(frozen=True)
class Cards:
    """What was found.

    Attributes:
        named: by the driver, where it answers.
        driver: its version, where its module is loaded.
        on_bus: how many the PCI bus shows, also without a driver. In a container these are the
            machine's, whether or not they were handed in.
    """

    named: tuple[str, ...] = ()
    driver: str = ""
    on_bus: int = 0

    @property
    def there(self) -> bool:
        """Whether there is any sign of a card."""
        return bool(self.named or self.driver or self.on_bus)

    @property
    def usable(self) -> bool:
        """Whether a driver stands behind it."""
        return bool(self.named or self.driver)

    def __str__(self) -> str:
        names = ", ".join(self.named) or f"{max(1, self.on_bus)} NVIDIA card"
        return f"{names} (driver {self.driver})" if self.driver else names


async def cards(case: Case) -> Cards:
    """The cards of the case's machine; asked once."""
    return await case.once("cards", lambda: in_thread(_look, case))


def uvm_is_missing(case: Case) -> bool:
    """Whether the driver is loaded and its device for CUDA's memory is not there.

    Nothing loads nvidia_uvm at a boot without a screen. CUDA does it through a program that
    becomes root, which a sandbox forbids.
    """
    root = case.host.root
    return bool(_driver(root)) and not (root / "dev/nvidia-uvm").exists()


def _look(case: Case) -> Cards:
    root = case.host.root
    named = tuple(reading.name for reading in case.host.gpus())
    return Cards(named, _driver(root), _on_bus(root))


def _driver(root: Path) -> str:
    """Of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu ..." the number."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = (root / "proc/driver/nvidia/version").read_text(encoding="ascii")
        words = text.partition("\n")[0].split()
        return next((word for word in words if word[0].isdigit() and "." in word), "unknown")
    return ""


def _on_bus(root: Path) -> int:
    folder = root / "sys/bus/pci/devices"
    return sum(
        _first_line(one / "vendor") == NVIDIA and _first_line(one / "class").startswith(DISPLAY)
        for one in (folder.iterdir() if folder.is_dir() else ())
    )


def _first_line(file: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="ascii").strip()
    return ""
