"""A short soak: real clients, a real daemon on the embedded preset, and faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.run import soak
from tests.soak.verdict import judge_outcomes

pytestmark = pytest.mark.long

FAULTS = ("disk full", "worker killed", "chain out", "replies cut", "daemon killed")


@pytest.mark.timeout(900)
async def test_a_minute_of_faults_loses_nothing(tmp_path: Path) -> None:
    """Workers and daemon killed, disk full, chain out, replies cut: each accepted promise has its
    outcome, every splat decodes, and each fault is overcome. How fast and at which memory is for
    ``make soak``, which takes minutes.
    """
    record = await soak(tmp_path, 30.0, 0.4, FAULTS)
    failed = [check for check in judge_outcomes(record) if not check.held]

    assert not failed, (failed, record.counts())
    assert [fault.name for fault in record.faults] == list(FAULTS)
    assert record.counts()["done"] >= 5
