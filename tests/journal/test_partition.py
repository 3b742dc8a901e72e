"""Several identities in one journal: what one of them knows is nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.errors import KnownTask
from miner.job import MAIN
from miner.journal import Journal, Partition
from tests.journal.samples import SETTINGS, a_job, an_asset

NAMES = (MAIN, "alpha", "beta")


async def test_one_task_of_several_identities(tmp_path: Path) -> None:
    """A validator's task is a job of its own for each identity, and once for each."""
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        jobs = {name: a_job(task_id="t", identity=name) for name in NAMES}
        for job in jobs.values():
            await journal.accept(job, 1.0)
        with pytest.raises(KnownTask):
            await journal.accept(a_job(task_id="t", identity="beta"), 1.0)
        found = {name: await Partition(journal, name).find_task("t") for name in NAMES}
        unfinished = {job.id: job.identity for job, _ in await journal.unfinished()}

    assert {name: record.id for name, record in found.items() if record} == {
        name: job.id for name, job in jobs.items()
    }
    assert all(record and record.identity == name for name, record in found.items())
    assert unfinished == {job.id: name for name, job in jobs.items()}


async def test_a_result_is_of_whom_it_was_asked(tmp_path: Path) -> None:
    """What one identity has made for a validator is not handed out by another."""
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        job = a_job(identity="alpha")
        await journal.accept(job, 1.0)
        await journal.finish(job.id, an_asset())
        found = [await Partition(journal, n).find_result("5Hot", job.spec.key) for n in NAMES]

    assert [None if record is None else record.id for record in found] == [None, job.id, None]


async def test_facts_and_nonces_are_told_apart(tmp_path: Path) -> None:
    """The same key holds another value for each, over a restart as well."""
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        for number, name in enumerate(NAMES):
            part = Partition(journal, name)
            part.set_state("pull:5Val", f"of {name}")
            part.remember_nonce("5Val:uuid", number, 100.0)
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        facts = {name: await Partition(journal, name).state("pull:5Val") for name in NAMES}
        nonces = {name: await Partition(journal, name).nonces() for name in NAMES}

    assert facts == {name: f"of {name}" for name in NAMES}
    assert nonces == {name: [("5Val:uuid", n, 100.0)] for n, name in enumerate(NAMES)}


async def test_the_main_one_goes_on_with_what_there_was(tmp_path: Path) -> None:
    """A journal of before there were identities is the partition of that name."""
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        journal.set_state("pull", "cooldowns")
        await journal.accept(a_job(task_id="t"), 1.0)
        part = Partition(journal, MAIN)
        part.event("pull", {"task": "t"})
        Partition(journal, "alpha").event("pull", {"task": "t"})

        assert await part.state("pull") == "cooldowns"
        assert await part.find_task("t") is not None
        details = [one.detail for one in await journal.events()]
    assert details == [{"task": "t"}, {"task": "t", "identity": "alpha"}]
