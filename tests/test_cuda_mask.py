"""Which devices the workers see: the environment's mask is kept to, and counted within."""

from __future__ import annotations

from typing import Any

import pytest

from miner.errors import ConfigError
from miner.settings import gpus_in_use, load_settings, worker_environment
from miner.settings.cuda_mask import mask, same_uuid, within


@pytest.mark.parametrize(
    ("gpu", "shown", "seen"),
    [
        ("0", None, "0"),
        ("GPU-1a2b", None, "GPU-1a2b"),
        ("0", "2,3", "2"),
        ("1", " 2 , 3 ", "3"),
        ("1", "GPU-a,GPU-b", "GPU-b"),
        ("GPU-b", "GPU-a,GPU-bcd", "GPU-b"),
        ("GPU-bcd", "GPU-a,GPU-b", "GPU-bcd"),
        ("GPU-b", "2,3", "GPU-b"),
        ("0", "MIG-5", "MIG-5"),
    ],
)
def test_a_worker_s_card_is_counted_within_the_mask(gpu: str, shown: str | None, seen: str) -> None:
    """An index is one of the mask's places; a UUID is itself, as long as the mask may mean it."""
    environ = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}

    assert worker_environment(gpu, environ)["CUDA_VISIBLE_DEVICES"] == seen


@pytest.mark.parametrize(
    ("gpu", "shown"),
    [("2", "2,3"), ("0", ""), ("0", "-1"), ("1", "2,-1,3"), ("GPU-c", "GPU-a,GPU-b")],
)
def test_a_card_outside_of_the_mask_is_refused(gpu: str, shown: str) -> None:
    """In one line that names the setting, the variable and the way out."""
    with pytest.raises(ConfigError, match=r"worker\.gpus: .*CUDA_VISIBLE_DEVICES") as raised:
        within(gpu, {"CUDA_VISIBLE_DEVICES": shown})

    assert "\n" not in str(raised.value)


def test_the_mask_ends_where_it_names_no_device() -> None:
    """As CUDA reads it; an empty one shows nothing, and none at all shows everything."""
    assert mask({"CUDA_VISIBLE_DEVICES": "0,-1,1"}) == ("0",)
    assert mask({"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert mask({}) is None
    assert not same_uuid("2", "2")


def test_cuda_counts_as_the_driver_does() -> None:
    """Also where no card is named, unless the environment sets another order."""
    assert worker_environment(None, {})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    fastest = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    assert worker_environment("0", fastest)["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


@pytest.mark.parametrize(
    ("worker", "device", "environ", "used"),
    [
        ({}, "auto", {}, ("0",)),
        ({}, "cuda", {"CUDA_VISIBLE_DEVICES": "2,3"}, ("2",)),
        ({}, "auto", {"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"gpus": ["1"]}, "auto", {"CUDA_VISIBLE_DEVICES": "2,3"}, ("3",)),
        ({"count": 2, "gpus": ["0", "GPU-b"]}, "auto", {}, ("0", "GPU-b")),
        ({}, "cpu", {}, ()),
        ({"executor": "ray"}, "auto", {}, None),
        ({"gpus": ["1"]}, "auto", {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, None),
        ({"gpus": ["GPU-b"]}, "auto", {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, ("GPU-b",)),
    ],
)
def test_the_cards_in_use_are_those_that_torch_takes(
    worker: dict[str, Any], device: str, environ: dict[str, str], used: tuple[str, ...] | None
) -> None:
    """Where nothing is named it takes the first that it sees; None is what cannot be known."""
    settings = load_settings(flags={"worker": worker, "device": device}, environ={})

    assert gpus_in_use(settings, environ) == used
