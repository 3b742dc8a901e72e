"""Host memory kept by the process between uses, where the C library can be told to.

A stage on the CPU takes and frees blocks of some megabytes thousands of times. glibc hands each
of them back to the kernel and gets it again as fresh pages, which have to be mapped and zeroed:
extraction of a surface then spends more time on page faults than on arithmetic.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Names of glibc's ``mallopt`` (malloc.h)."""

MMAP_THRESHOLD_BYTES = 32 << 20
"""Blocks below this come from the heap; glibc accepts no more than this."""

KEPT_BYTES = 1 << 30
"""Free memory at the heap's end that is kept rather than given back."""

STEP_BYTES = 64 << 20
"""By how much the heap grows when it must."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed for the next use; True if it took the advice.

    For the whole process, once; calling it again changes nothing. Elsewhere than on glibc it does
    nothing and returns False.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "mallopt", None)
    if mallopt is None:
        return False
    options = (
        (_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, KEPT_BYTES),
        (_M_TOP_PAD, STEP_BYTES),
    )
    return all([bool(mallopt(name, value)) for name, value in options])
