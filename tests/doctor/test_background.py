"""On what the background is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.doctor.background import judge, look_at_background
from miner.doctor.probe import CPU_PROVIDER, CUDA_PROVIDER
from miner.errors import WeightsError
from tests.doctor.machines import PROVIDERS, SEEN, Programs, case

BOTH = [CUDA_PROVIDER, CPU_PROVIDER]


@pytest.mark.parametrize(
    ("changes", "cuda", "status"),
    [
        ({}, False, "ok"),
        ({"available": BOTH, "provider": CUDA_PROVIDER}, True, "ok"),
        ({"available": BOTH, "provider": CPU_PROVIDER}, True, "fail"),
        ({}, True, "warn"),
        ({"reason": "no such file"}, True, "fail"),
    ],
)
def test_the_provider_in_use_is_judged_by_the_device(
    changes: dict[str, Any], cuda: bool, status: str
) -> None:
    """A card that onnxruntime could use and does not is a failure, one that it cannot a warning."""
    assert judge({**PROVIDERS, **changes}, cuda).status == status


def test_a_network_that_cannot_be_opened_stops_the_start() -> None:
    """No worker would come up."""
    assert judge({**PROVIDERS, "reason": "x"}, False).stops is WeightsError
    assert judge({"failed": "it ended with -11"}, False).status == "fail"


async def test_the_card_is_asked_for_where_torch_has_it(tmp_path: Path) -> None:
    """As the pipeline does; not where the CPU is set."""
    for device, word in (("auto", "cuda"), ("cpu", "cpu")):
        programs = Programs(gpu=SEEN, background=PROVIDERS)
        await look_at_background(case(tmp_path, programs, device=device))

        assert programs.asked[-1][0][-1] == word


async def test_without_its_weights_there_is_nothing_to_open(tmp_path: Path) -> None:
    """That they are missing is another check's line."""
    found = await look_at_background(case(tmp_path, preset="flux-schnell"))

    assert found.status == "skip"
