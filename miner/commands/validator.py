"""``miner validator``: a test validator and load generator for any miner that speaks the protocol.

It signs real requests, checks that what comes back are splats, writes them to a folder, and says
how long they took. It scores nothing and sets no weights; of the chain it knows nothing: the
miner's address and hotkey are given.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from miner import files
from miner.admission.signature import Signer, is_address, load_hotkey, new_hotkey
from miner.commands.console import Reporter, result
from miner.commands.outputs import slugify
from miner.errors import BadOption, BadPrompt, OutputError
from miner.job import MAX_SEED, Format
from miner.network.dendrite import Dendrite
from miner.network.load import Answer, LoadPlan, Order, Target, Validator, run_load
from miner.network.load_report import report, table

PROTOCOLS = ("generate3d", "tgtask")
FORMATS: dict[str, Format] = {"spz": "spz", "ply": "ply"}
ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
MAX_ROWS = 50
"""Of the table; a load of more requests is told in figures alone."""
MAX_IMAGE_BYTES = 64 * 2**20
MAX_PROMPT_FILE_BYTES = 16 * 2**20
SOME_FAILED = 1


def validator(
    axon: Annotated[str, typer.Option(metavar="IP:PORT", help="Where the miner listens.")],
    miner: Annotated[str, typer.Option(metavar="SS58", help="The miner's hotkey.")],
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT...]", help="What to ask for.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="More prompts, one a line.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask with this picture instead.")
    ] = None,
    hotkey_file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Sign as this hotkey; several take turns. A new one otherwise."
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(metavar="|".join(PROTOCOLS), help="One shot, or push and poll.")
    ] = "generate3d",
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Of the first request; then one up each.")
    ] = 0,
    format: Annotated[
        str, typer.Option(metavar="|".join(FORMATS), help="Of the splats, with generate3d.")
    ] = "spz",
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="Seconds a splat may take.")
    ] = 60.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the splats here.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="In all; prompts take turns.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=10_000, help="Requests under way at once.")
    ] = 1,
    rate: Annotated[
        float | None, typer.Option(min=0.001, max=1e6, help="Requests begun a second.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the figures as JSON.")
    ] = None,
) -> None:
    """Ask a miner for splats with signed requests; see what comes, and how fast."""
    _choose("protocol", protocol, PROTOCOLS)
    _choose("format", format, tuple(FORMATS))
    orders = _Orders(_gather(prompts or [], prompt_file, image), seed, FORMATS[format])
    if output is not None:
        files.make_folder(output)
    if report_file is not None and not report_file.parent.is_dir():
        raise OutputError(f"cannot write {report_file}: there is no folder {report_file.parent}")
    campaign = _Campaign(
        _target(axon, miner),
        [load_hotkey(path) for path in hotkey_file or []] or [new_hotkey()],
        orders,
        LoadPlan(requests or len(orders.subjects), concurrency, rate),
        pushed=protocol == "tgtask",
        limit_seconds=timeout,
        folder=output,
    )
    began = time.monotonic()
    answers = asyncio.run(campaign.run())
    figures = report(answers, time.monotonic() - began)
    _show(answers, figures)
    if report_file is not None:
        files.write_atomic(report_file, json.dumps(figures, indent=2).encode() + b"\n")
    if figures["ok"] < len(answers):
        raise typer.Exit(SOME_FAILED)


@dataclass(frozen=True)
class _Orders:
    """What to ask for, request by request: subjects in turn, seeds rising so that none is equal."""

    subjects: Sequence[Order]
    seed: int
    format: Format

    def __getitem__(self, number: int) -> Order:
        subject = self.subjects[number % len(self.subjects)]
        seed = (self.seed + number) % (MAX_SEED + 1)
        return Order(subject.prompt, subject.image, seed, self.format)


@dataclass(frozen=True)
class _Campaign:
    """All requests of one command line."""

    target: Target
    signers: Sequence[Signer]
    orders: _Orders
    plan: LoadPlan
    pushed: bool
    limit_seconds: float
    folder: Path | None

    async def run(self) -> list[Answer]:
        """Sends them; files are written as they come, and answers hold none."""
        async with AsyncExitStack() as stack:
            validators = [
                Validator(await stack.enter_async_context(Dendrite(signer)), self.target)
                for signer in self.signers
            ]

            async def send(number: int) -> Answer:
                validator = validators[number % len(validators)]
                ask = validator.push if self.pushed else validator.generate
                answer = await ask(self.orders[number], self.limit_seconds)
                if self.folder is not None and answer.data is not None:
                    await asyncio.to_thread(self._write, number, answer.title, answer.data)
                return answer.without_data()

            return await run_load(send, self.plan)

    def _write(self, number: int, title: str, data: bytes) -> None:
        assert self.folder is not None
        suffix = "ply" if data.startswith(b"ply") else "spz"
        files.write_atomic(self.folder / f"{number:04d}-{slugify(title)}.{suffix}", data)


def _show(answers: Sequence[Answer], figures: dict[str, Any]) -> None:
    if len(answers) <= MAX_ROWS:
        for line in table(answers):
            result(line)
    took = "".join(f", {name} {value:.3f} s" for name, value in figures["latency_seconds"].items())
    result(
        f"{figures['ok']} of {figures['requests']} splats in {figures['seconds']:.2f} s,"
        f" {figures['per_second'] or 0:.2f} requests a second{took}"
    )
    if len(answers) > MAX_ROWS:
        for message, count in figures["messages"].items():
            Reporter().note(f"{count} times: {message}")


def _target(address: str, hotkey: str) -> Target:
    match = ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[2]) < 2**16:
        raise BadOption(f"--axon {address!r}: write it as ip:port")
    if not is_address(hotkey):
        raise BadOption(f"--miner {hotkey!r}: not the ss58 address of a hotkey")
    return Target(address, hotkey)


def _choose(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise BadOption(f"unknown {option} {value!r}; there are: {', '.join(choices)}")


def _gather(prompts: Sequence[str], prompt_file: Path | None, image: Path | None) -> list[Order]:
    """The subjects; the miner judges what is in them."""
    if image is not None:
        if prompts or prompt_file:
            raise BadOption("either prompts or a picture")
        return [Order(image=base64.b64encode(_read(image, MAX_IMAGE_BYTES)).decode())]
    subjects = list(prompts)
    if prompt_file is not None:
        try:
            text = _read(prompt_file, MAX_PROMPT_FILE_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadPrompt(f"{prompt_file}: is not UTF-8 text") from error
        subjects += [line for line in text.splitlines() if line.strip()]
    if not subjects:
        raise BadOption("nothing to ask for: give a prompt, --prompts or --image")
    if any(not subject.isascii() and _is_broken(subject) for subject in subjects):
        raise BadPrompt("a prompt is not text: the terminal's encoding is not UTF-8?")
    return [Order(subject) for subject in subjects]


def _is_broken(text: str) -> bool:
    """Whether it holds bytes that the shell passed and that are no characters."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadOption(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise BadOption(f"{path}: longer than {limit} bytes")
    return data
