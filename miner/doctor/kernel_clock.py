"""What the kernel knows of its clock: adjtimex(2), which any user may read."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

STA_UNSYNC = 0x0040
TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """``struct timex`` as 64-bit Linux lays it out, up to the last field that is read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True)
class KernelClock:
    """How well the clock is kept.

    Attributes:
        synchronised: whether some time service keeps it.
        max_error_seconds: how far off it may be at most, by the kernel's own account; grows while
            nothing corrects the clock.
    """

    synchronised: bool
    max_error_seconds: float


def read_kernel_clock() -> KernelClock | None:
    """The state now; None where the system has no such call or forbids it."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "adjtimex"):
        return None
    state = _Timex(modes=0)
    answer = library.adjtimex(ctypes.byref(state))
    if answer < 0:
        return None
    unsynchronised = answer == TIME_ERROR or bool(state.status & STA_UNSYNC)
    return KernelClock(not unsynchronised, state.maxerror / 1e6)
