"""``miner demo --break``: requests flow, the first generator breaks and is mended, nothing is lost.

A daemon on the embedded preset and a validator that keeps asking. What the validator saw, what the
daemon decided and what its metrics count are put side by side at the end, and must agree.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import typer

from miner import files
from miner.admission.signature import new_hotkey
from miner.commands.console import Reporter, result
from miner.commands.demo_faults import switch
from miner.commands.demo_miner import DemoMiner, running, write_settings
from miner.errors import BadOption, ControlError
from miner.job import MAIN
from miner.network.control_client import ask
from miner.network.dendrite import Dendrite
from miner.network.load import Answer, Order, Target, Validator

PRIMARY, OTHER = "triposr", "dreamgaussian"
PROMPTS = ("a red cube", "a blue car", "a green tree", "a yellow mug", "a wooden chair")
SETTINGS = """
[rollback]
failures = 2
window_seconds = 120.0
cool_down_seconds = 5.0
max_cool_down_seconds = 20.0
"""
"""So that a demonstration takes a minute or two and not a quarter of an hour."""

STAKE = 25_000.0
LIMIT_SECONDS = 120.0
EACH = 3
"""Answers waited for in each part of the story."""
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.2


@dataclass
class Story:
    """What happened, by unix seconds.

    Attributes:
        answers: that the validator got, and when.
        notes: what was done to the daemon.
        changes: that its breaker decided.
    """

    answers: list[tuple[float, Answer]] = field(default_factory=list)
    notes: list[tuple[float, str]] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)

    def made_by(self, generator: str) -> int:
        """How many answers were."""
        return sum(answer.generator == generator for _, answer in self.answers)

    def lines(self) -> Iterator[str]:
        """The timeline."""
        told = [(at, f"      {note}") for at, note in self.notes]
        told += [(at, f"  {_answered(answer)}") for at, answer in self.answers]
        told += [(change["at"], f"      {_decided(change)}") for change in self.changes]
        told.sort(key=lambda entry: entry[0])
        start = told[0][0] if told else 0.0
        return (f"{at - start:7.1f} s {text}" for at, text in told)


def demo_break(generator: str, output: Path, reporter: Reporter) -> None:
    """Tells the story, and checks it.

    Raises:
        BadOption: a generator that the demonstration cannot break.
        ControlError: the daemon did not start, or has no second generator.
    """
    if generator != PRIMARY:
        raise BadOption(f"--break: {PRIMARY} is the generator to break, not {generator!r}")
    files.make_folder(output)
    validator = new_hotkey()
    with tempfile.TemporaryDirectory(prefix="miner-demo-") as name:
        folder = Path(name)
        settings, hotkey = write_settings(folder, [(validator, STAKE)])
        files.write_atomic(settings, settings.read_bytes() + SETTINGS.encode())
        log = output / "daemon.log"
        reporter.note(f"starting a daemon on the embedded preset; its log is {log}")
        with running(settings, hotkey, log, breakable=True) as miner:
            reporter.note(f"ready after {miner.seconds:.1f} s; a validator keeps asking")
            director = Director(miner, folder, reporter)
            asyncio.run(director.play(Dendrite(validator)))
            story = director.story
            counted = _read_metrics(miner)
    for line in story.lines():
        result(line)
    differences = list(compare(story, counted))
    for line in differences:
        result(f"differs: {line}")
    lost = [answer for _, answer in story.answers if not answer.ok]
    if not differences:
        result(f"{len(story.answers)} requests, {len(lost)} lost; timeline and metrics agree")
    if differences or lost:
        raise typer.Exit(1)


class Director:
    """Lets requests flow, and breaks and mends what makes the answers."""

    def __init__(self, miner: DemoMiner, folder: Path, reporter: Reporter) -> None:
        self.story = Story()
        self._miner = miner
        self._folder = folder
        self._reporter = reporter
        self._ended = False

    async def play(self, dendrite: Dendrite) -> None:
        """The whole story, from the first request to the last answer."""
        if not self._status()["offered"]:
            raise ControlError(f"the embedded preset has no generator {OTHER} to roll back to")
        target = Target(self._miner.addresses["axon"].removeprefix("http://"), self._miner.hotkey)
        async with dendrite, asyncio.TaskGroup() as group:
            flow = group.create_task(self._flow(Validator(dendrite, target)))
            try:
                await self._parts()
            finally:
                self._ended = True
            await flow
        self.story.changes = self._status()["changes"]

    async def _parts(self) -> None:
        story, broken = self.story, switch(self._folder, PRIMARY)
        await self._until(lambda: story.made_by(PRIMARY) >= EACH)
        self._note(f"{PRIMARY} is made to fail")
        broken.touch()
        await self._until(lambda: self._status()["state"] == "open")
        before = story.made_by(OTHER)
        await self._until(lambda: story.made_by(OTHER) >= before + EACH)
        self._note(f"{PRIMARY} is mended")
        broken.unlink()
        await self._until(lambda: self._status()["state"] == "closed")
        before = story.made_by(PRIMARY)
        await self._until(lambda: story.made_by(PRIMARY) >= before + EACH)

    async def _flow(self, validator: Validator) -> None:
        """One request after the other; no two are equal, so none shares another's answer."""
        for seed, prompt in enumerate(itertools.cycle(PROMPTS)):
            if self._ended:
                return
            answer = await validator.generate(Order(prompt, seed=seed), LIMIT_SECONDS)
            self.story.answers.append((time.time(), answer.without_data()))
            self._reporter.note(_answered(answer))

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():  # noqa: ASYNC110 - another process has no event to wait for
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise ControlError(f"the story stood still for {PATIENCE_SECONDS:g} s") from error

    def _note(self, text: str) -> None:
        self.story.notes.append((time.time(), text))
        self._reporter.note(text)

    def _status(self) -> Mapping[str, Any]:
        status = ask(self._folder / "state", "GET", "status")
        return status["rollback"] or {"offered": False}


def compare(story: Story, counted: Mapping[str, float]) -> Iterator[str]:
    """Where the validator, the status and the metrics do not tell the same."""
    expected = Counter[str]()
    for _, answer in story.answers:
        code = "ok" if answer.ok else str(answer.status)
        labels = f'code="{code}",identity="{MAIN}",intake="generate3d"'
        expected[f"miner_jobs_finished_total{{{labels}}}"] += 1
        if answer.generator:
            expected[f'miner_asset_gaussians_count{{generator="{answer.generator}"}}'] += 1
    for change in story.changes:
        labels = f'cause="{change["cause"]}",state="{change["state"]}"'
        expected[f"miner_rollback_changes_total{{{labels}}}"] += 1
    families = {series.partition("{")[0] for series in expected}
    seen = {s: n for s, n in counted.items() if s.partition("{")[0] in families and n}
    for series in sorted({*expected, *seen}):
        if expected[series] != seen.get(series, 0.0):
            yield f"{series} is {seen.get(series, 0.0):g}, the timeline has {expected[series]}"
    if not counted.get(f'miner_generator_active{{generator="{PRIMARY}"}}'):
        yield f"the metrics do not say that new jobs go to {PRIMARY}"


def _read_metrics(miner: DemoMiner) -> dict[str, float]:
    """Series by name and labels, as Prometheus would scrape them."""
    with urlopen(f"{miner.addresses['metrics']}/metrics", timeout=10) as reply:  # noqa: S310 - ours
        lines = reply.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {series: float(number) for series, _, number in pairs}


def _answered(answer: Answer) -> str:
    if not answer.ok:
        return f"LOST  {answer.title}: {answer.status} {answer.message}"
    return f"{answer.generator or '':<14} {answer.title:<20} {answer.seconds:5.1f} s"


def _decided(change: Mapping[str, Any]) -> str:
    state = str(change["state"]).replace("_", " ")
    return f"breaker {state} ({change['cause']}): new jobs go to {change['generator']}"
