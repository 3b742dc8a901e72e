"""Host memory that is kept between uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from miner.gpu.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(3):
    np.ones(1 << 20)
before = faults()
for _ in range(20):
    np.ones(1 << 20)
print(faults() - before)
"""


def _faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt belongs to glibc")
def test_a_block_that_was_freed_is_used_again() -> None:
    """Taking and freeing the same block again and again maps no new pages once memory is kept."""
    pages = 20 * (8 << 20) // 4096

    assert _faults("keep") < pages / 10
