"""A small fleet through the simulation of the large one: what it does, loses and wakes."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from tests.benchmarks.fleet.clock import simulated
from tests.benchmarks.fleet.plots import figure, page
from tests.benchmarks.fleet.record import Record
from tests.benchmarks.fleet.scenarios import HOUR, Loss, Scenario
from tests.benchmarks.fleet.simulation import fleet, simulate

CALM = Scenario("calm", 30.0, gpus=20, jobs=200, during=600.0)
BUSY = replace(CALM, title="busy", seconds=54.0)


def run(scenario: Scenario) -> Record:
    """A scenario to its end."""
    return simulated(simulate(scenario))


def test_a_calm_fleet_does_every_job_at_once() -> None:
    """Each job is done, and none waits."""
    record = run(CALM)

    assert record.fates == {"done": CALM.jobs}
    assert {job.waited for job in record.jobs} == {0.0}


@pytest.mark.parametrize("back_after", [None, 60.0])
def test_the_jobs_of_lost_cards_are_done_by_others(back_after: float | None) -> None:
    """Each job in hand on a lost card begins once more, and all are done."""
    record = run(replace(BUSY, loss=Loss(0.25, 300.0, back_after)))

    assert record.hit > 0
    assert record.retried == record.hit
    assert record.fates == {"done": BUSY.jobs}


def test_cards_that_come_back_take_jobs_again() -> None:
    """A fleet is as large as before once the lost cards have loaded."""
    lost = run(replace(BUSY, loss=Loss(0.25, 300.0)))
    back = run(replace(BUSY, loss=Loss(0.25, 300.0, 60.0)))

    assert [lost.samples[0].alive, lost.samples[-1].alive] == [20, 15]
    assert [back.samples[0].alive, back.samples[-1].alive] == [20, 20]
    assert min(sample.alive for sample in back.samples) == 15


def test_what_is_too_much_is_refused_or_missed() -> None:
    """Every job has one outcome, also of twice as many as the cards can do."""
    record = run(replace(BUSY, seconds=120.0, timeout=200.0))

    assert record.fates.total() == BUSY.jobs
    assert record.fates["refused"] > 0
    assert record.fates["other"] == 0


def test_a_sign_of_life_wakes_nobody() -> None:
    """Idle workers announce nothing, and how they are is as fresh as their last sign."""

    async def rest() -> tuple[int, float]:
        async with fleet(CALM, random.Random(1)) as made:
            woken: list[int] = []
            made.cards.subscribe(lambda: woken.append(1))
            await asyncio.sleep(HOUR)
            ages = [worker.heartbeat_age for worker in made.cards.health().workers]
            return len(woken), max(age for age in ages if age is not None)

    woken, age = simulated(rest())
    assert woken == 0
    assert age <= CALM.heartbeat_seconds


def test_the_plots_show_every_run() -> None:
    """A figure and a page are made of any runs, also of those without a loss."""
    records = [run(CALM), run(replace(BUSY, loss=Loss(0.25, 300.0, 60.0)))]

    drawn = figure(records, "heading")
    shown = page(records, [record.row() for record in records], ["a note"])
    for record in records:
        assert record.scenario.title in drawn
        assert record.scenario.title in shown
