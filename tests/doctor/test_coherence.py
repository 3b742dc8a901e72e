"""Settings of which worker holds which generator, held against those of the generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.doctor.coherence import look_at_settings
from miner.errors import ConfigError
from miner.settings import load_settings
from tests.doctor.machines import case


async def test_a_spread_of_the_two_generators_is_coherent(tmp_path: Path) -> None:
    """Both may be named, or the primary alone."""
    for spread in ({"triposr": 3, "dreamgaussian": 1}, {"triposr": 1}):
        worker = {"count": 2, "spread": spread}
        assert (await look_at_settings(case(tmp_path, worker=worker))).status == "ok"


async def test_fewer_workers_than_generators_are_told(tmp_path: Path) -> None:
    """The daemon works, with nothing to roll back to."""
    worker = {"count": 1, "spread": {"triposr": 3, "dreamgaussian": 1}}
    found = await look_at_settings(case(tmp_path, worker=worker))

    assert found.status == "warn"
    assert "names 2 generators" in found.reason


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"worker": {"spread": {"triposr": 1, "tripsor": 1}}}, "'tripsor' is neither"),
        ({"worker": {"spread": {"dreamgaussian": 1}}}, "leaves out rollback.primary"),
        (
            {
                "worker": {"spread": {"triposr": 1, "dreamgaussian": 1}},
                "rollback": {"generator": ""},
            },
            "'dreamgaussian' is neither",
        ),
        (
            {
                "worker": {"spread": {"triposr": 1, "dreamgaussian": 1}},
                "dreamgaussian": {"config": ""},
            },
            "preset mini does not say how to run dreamgaussian",
        ),
    ],
)
async def test_a_spread_that_cannot_be_is_refused(
    tmp_path: Path, flags: dict[str, Any], text: str
) -> None:
    """What is no generator of ours, or not offered, or leaves the one in use without a worker."""
    with pytest.raises(ConfigError, match=rf"worker\.spread: .*{text}"):
        await look_at_settings(case(tmp_path, **flags))


@pytest.mark.parametrize("weight", [0, -1, 1.5, "many"])
def test_a_weight_is_a_whole_number_of_one_or_more(weight: object) -> None:
    """The error names the key."""
    with pytest.raises(ConfigError, match=r"worker\.spread\.triposr"):
        load_settings("mini", {"worker": {"spread": {"triposr": weight}}}, environ={})
