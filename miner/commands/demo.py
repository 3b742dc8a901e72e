"""``miner demo``: a daemon on the embedded preset, and validators that ask it for splats.

Everything is real but the keys and the peers: signed requests over HTTP, the queue, the journal, a
worker process, the metrics. Nothing outside this host is touched.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.request import urlopen

import typer

from miner import encoder, files
from miner.admission.signature import Signer, new_hotkey
from miner.commands.console import Reporter, result
from miner.commands.demo_break import demo_break
from miner.commands.demo_fleet import demo_fleet
from miner.commands.demo_identities import demo_identities
from miner.commands.demo_miner import DemoMiner, running, write_settings
from miner.commands.demo_pull import demo_pull
from miner.commands.outputs import file_names
from miner.network.dendrite import Dendrite
from miner.network.load import Answer, Order, Target, Validator
from miner.network.load_report import table

PROMPTS = (
    "a red cube",
    "a wooden chair",
    "a blue car",
    "a white mushroom with a red cap",
    "a green tree",
    "a yellow mug",
)
PUSHED = 2
"""How many of the prompts come as a task to be polled for; the rest wait on their connection."""
STAKES = (25_000.0, 4_000.0)
LIMIT_SECONDS = 120.0
DEFAULT_WORKERS = 2
POLL_SECONDS = 0.25
TOLD = (
    "miner_ready",
    "miner_jobs_finished_total",
    "miner_job_duration_seconds_count",
    "miner_job_duration_seconds_sum",
    "miner_stage_duration_seconds_sum",
    "miner_requests_rejected_total",
    "miner_asset_gaussians_sum",
    "miner_worker_memory_resident_bytes",
)
"""Of the metrics, what a first look wants to see."""


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where splats and pictures go.")
    ] = Path("out/demo"),
    pull: Annotated[
        bool, typer.Option("--pull", help="A validator with tasks; both are killed in between.")
    ] = False,
    broken: Annotated[
        str | None,
        typer.Option("--break", metavar="triposr", help="It fails, is left, mended, taken back."),
    ] = None,
    executor: Annotated[
        str,
        typer.Option("--executor", metavar="local|ray", help="Where workers run; ray: a cluster."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="So many, and one is killed at its job."),
    ] = None,
    identities: Annotated[
        int | None,
        typer.Option("--identities", metavar="N", help="So many hotkeys; one of them is flooded."),
    ] = None,
    keep: Annotated[
        bool | None,
        typer.Option("--keep/--no-keep", help="Leave the daemon running; so on a terminal."),
    ] = None,
) -> None:
    """Start a daemon with throw-away keys, have test validators call it, and show what came."""
    reporter = Reporter()
    if pull:
        demo_pull(output, reporter)
        return
    if broken:
        demo_break(broken, output, reporter)
        return
    if identities is not None:
        demo_identities(identities, output, reporter)
        return
    if executor != "local" or workers is not None:
        demo_fleet(executor, DEFAULT_WORKERS if workers is None else workers, output, reporter)
        return
    files.make_folder(output)
    validators = [new_hotkey() for _ in STAKES]
    with tempfile.TemporaryDirectory(prefix="miner-demo-") as folder:
        peers = list(zip(validators, STAKES, strict=True))
        settings, hotkey = write_settings(Path(folder), peers)
        log = output / "daemon.log"
        reporter.note(f"starting a daemon on the embedded preset; its log is {log}")
        with running(settings, hotkey, log) as miner:
            reporter.note(f"ready after {miner.seconds:.1f} s; validators are calling")
            answers = asyncio.run(_call(miner, validators))
            _show(answers, output, reporter)
            _tell(miner)
            if sys.stdout.isatty() if keep is None else keep:
                _wait(miner, reporter)
    if bad := [answer for answer in answers if not answer.ok and answer.validator in _known(peers)]:
        reporter.note(f"{len(bad)} of the validators' requests failed")
        raise typer.Exit(1)


def _known(peers: Sequence[tuple[Signer, float]]) -> set[str]:
    return {signer.ss58_address for signer, _ in peers}


async def _call(miner: DemoMiner, validators: Sequence[Signer]) -> list[Answer]:
    """All requests at once: one validator waits, one pushes and polls, a stranger tries."""
    target = Target(miner.addresses["axon"].removeprefix("http://"), miner.hotkey)
    async with (
        Dendrite(validators[0]) as first,
        Dendrite(validators[1]) as second,
        Dendrite(new_hotkey()) as stranger,
    ):
        waiting, pushing, unknown = (
            Validator(dendrite, target, poll_seconds=POLL_SECONDS)
            for dendrite in (first, second, stranger)
        )
        calls = [waiting.generate(Order(text), LIMIT_SECONDS) for text in PROMPTS[PUSHED:]]
        calls += [pushing.push(Order(text), LIMIT_SECONDS) for text in PROMPTS[:PUSHED]]
        calls += [unknown.generate(Order("a purple hat"), LIMIT_SECONDS)]
        return await asyncio.gather(*calls)


def _show(answers: Sequence[Answer], output: Path, reporter: Reporter) -> None:
    """Writes the splats and a sheet of them, and prints the table."""
    made = [answer for answer in answers if answer.data is not None]
    names = file_names([answer.title for answer in made])
    for name, answer in zip(names, made, strict=True):
        files.write_atomic(output / f"{name}.spz", answer.data or b"")
    for line in table(answers):
        result(line)
    if not made:
        return
    with reporter.task("drawing the splats"):
        from miner.rendering import sheets

        picture = sheets.rows([encoder.decode(answer.data or b"") for answer in made])
        with files.replacing(output / "sheet.png") as partial:
            picture.save(partial)
    result(f"look at {output / 'sheet.png'}: a row for each splat, turning from the front")


def _tell(miner: DemoMiner) -> None:
    """What Prometheus would scrape, in short, and where to look further."""
    pages = {"metrics": "metrics", "status": "api", "readyz": "metrics"}
    addresses = {page: f"{miner.addresses[server]}/{page}" for page, server in pages.items()}
    with urlopen(addresses["metrics"], timeout=10) as reply:  # noqa: S310 - our own daemon
        text = reply.read().decode()
    for line in _extract(text):
        result(line)
    for page, address in addresses.items():
        result(f"{page}: {address}")


def _extract(metrics: str) -> Iterator[str]:
    for line in metrics.splitlines():
        if line.startswith(TOLD) and not line.endswith(" 0.0"):
            yield line


def _wait(miner: DemoMiner, reporter: Reporter) -> None:
    reporter.note("the daemon runs on; Ctrl-C ends it")
    try:
        miner.process.wait()
    except KeyboardInterrupt:
        reporter.note("stopping")
