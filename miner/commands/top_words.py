"""Values as the live view writes them: one line, few characters, nothing that moves the cursor."""

from __future__ import annotations

from typing import Any

GIB = 1024**3


def plain(value: Any) -> str:
    """As text of one line, without what could move the cursor."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def duration(seconds: float) -> str:
    """As a person would say it, in one unit."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float | None) -> str:
    """Bytes as a person would say it."""
    if count is None:
        return "-"
    for unit, length in (("GiB", GIB), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count:.0f} B"
