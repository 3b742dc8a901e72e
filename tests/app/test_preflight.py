"""What is found out before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from miner.app import preflight
from miner.doctor.case import Host
from miner.errors import BindError, ConfigError, DeviceError, WeightsError
from miner.settings import ApiSettings, Settings, load_settings
from tests.doctor.machines import BLIND, Programs, nvidia, put


def settings(folder: Path, **flags: Any) -> Settings:
    """Of a daemon that serves its own programs alone, on free ports."""
    quiet = {"intakes": ["http"], "api": {"port": 0}, "metrics": {"port": 0}, "device": "cpu"}
    state = {"state_dir": str(folder), "weights": str(folder / "weights")}
    return load_settings(flags={**quiet, **state, **flags}, environ={})


async def test_a_start_that_can_be_is_not_held_up(tmp_path: Path) -> None:
    """On the embedded preset nothing stands in the way, and nothing is written."""
    await preflight.check(settings(tmp_path))

    assert not list(tmp_path.iterdir())  # noqa: ASYNC240


@pytest.mark.parametrize(
    ("flags", "error", "told"),
    [
        ({"intakes": ["pull"]}, ConfigError, r"chain\.network"),
        ({"intakes": ["axon"]}, ConfigError, r"wallet\.hotkey_file"),
        ({"preset": "flux-schnell"}, WeightsError, "is missing; run: miner fetch"),
        ({"state_dir": "/proc/no"}, ConfigError, "state_dir"),
    ],
)
async def test_what_stops_a_start_is_one_line_with_its_mend(
    tmp_path: Path, flags: dict[str, Any], error: type[Exception], told: str
) -> None:
    """The error is of the failure's own kind and says what to do."""
    with pytest.raises(error, match=told):
        await preflight.check(settings(tmp_path, **flags))


async def test_a_card_that_torch_does_not_see_stops_the_start(tmp_path: Path) -> None:
    """Nothing computes on the CPU behind the operator's back; where the CPU is set, it may."""
    programs = Programs(gpu=BLIND)
    put(tmp_path, "proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    host = Host(root=tmp_path, run=programs, gpus=nvidia)
    with pytest.raises(DeviceError, match=r"NVIDIA H200 is here, and torch 2\.13\.0 cannot use it"):
        await preflight.check(settings(tmp_path, device="auto"), host)

    await preflight.check(settings(tmp_path, device="cpu"), host)
    assert len(programs.asked) == 1


async def test_a_taken_port_is_found_before_anything_loads(tmp_path: Path) -> None:
    """Not after minutes of loading, when the door would be opened."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"api: cannot listen on 127.0.0.1:{port}"):
            await preflight.check(settings(tmp_path, api={"port": port}))


async def test_what_should_be_mended_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """A disk that results may fill is a line in the log."""
    wanted = {"max_result_bytes": 2**60}
    with capture_logs() as lines:
        await preflight.check(settings(tmp_path, journal=wanted))

    told = next(line for line in lines if line.get("name") == "disk")
    assert told["log_level"] == "warning"
    assert "max_result_bytes" in told["mend"]


def test_the_page_is_off_where_others_reach_it_and_nobody_is_asked(tmp_path: Path) -> None:
    """Off loopback it needs a token; the log says why it is not there."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    here, there = ApiSettings(), ApiSettings(host="0.0.0.0")
    locked = ApiSettings(host="0.0.0.0", token_file=token)

    assert preflight.api_token(here) is None
    assert preflight.shows_page(here, None)
    with capture_logs() as lines:
        assert not preflight.shows_page(there, None)
    assert [line["event"] for line in lines] == ["page_off"]
    assert preflight.shows_page(locked, preflight.api_token(locked))
    assert not preflight.shows_page(ApiSettings(page=False), None)
    with pytest.raises(ConfigError, match="cannot be read"):
        preflight.api_token(ApiSettings(token_file=tmp_path / "missing"))
