"""What the doctor says of gsplat's kernels: never a failure, and always with the command."""

from __future__ import annotations

import pytest

from miner.doctor.rasteriser import judge


def test_built_kernels_are_ok() -> None:
    """Nothing is to be done."""
    assert judge({"status": "ready", "reason": "/somewhere"}).status == "ok"


@pytest.mark.parametrize(
    "found",
    [
        {"status": "unbuilt", "reason": "gsplat's kernels are not built"},
        {"status": "failed", "reason": "gsplat's kernels could not be built: nvcc: no such file"},
        {"status": "absent", "reason": "gsplat is not installed"},
        {"failed": "it ended with -11"},
    ],
)
def test_without_kernels_it_warns_with_the_command_that_builds_them(found: dict[str, str]) -> None:
    """A fit is slower then, and nothing else is wrong: no start is stopped by it."""
    finding = judge(found)

    assert finding.status == "warn"
    assert (found.get("reason") or found["failed"]) in finding.line
    assert "miner fetch --build-gsplat" in finding.mend
