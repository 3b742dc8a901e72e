"""``miner validator-serve``: a validator that hands out tasks to miners that pull, and keeps books.

For tests and demonstrations: the subnet's rules for tasks, cooldowns and penalties, and a validity
gate instead of its models. Of the chain it knows nothing: who is registered is given.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from miner import files
from miner.admission.peers import Peer, PeersSnapshot, read_static_peers
from miner.admission.signature import Signer, is_address, load_hotkey, new_hotkey
from miner.commands.console import Reporter, result
from miner.errors import BadOption
from miner.network.subnet import SubnetTask
from miner.validator.accounts import LedgerState
from miner.validator.ledger import Ledger
from miner.validator.report import miner_table, report, summary, task_table
from miner.validator.rules import Rules
from miner.validator.serve import serve_validator
from miner.validator.service import ValidatorService
from miner.validator.tasks import TEXT_SHARE, TaskList

TEXTS = (
    "a red cube",
    "a wooden chair",
    "a blue car",
    "a green tree",
    "a yellow mug",
    "a white mushroom with a red cap",
    "a small house with a red roof",
    "a purple hat",
)
"""Asked for where no other prompts are given."""

MAX_ROWS = 50
"""Of the table of tasks; the last ones."""

MAX_PICTURE_BYTES = 2 * 2**20
"""What the subnet lets through."""

DEFAULTS = Rules()


def validator_serve(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT...]", help="What to ask for.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="More prompts, one a line.")
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Ask with this picture, too.")
    ] = None,
    miner: Annotated[
        list[str] | None, typer.Option(metavar="SS58", help="A registered miner's hotkey.")
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All who are registered, as TOML.")
    ] = None,
    hotkey_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who to be. A new hotkey otherwise.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free one.")] = 0,
    tasks: Annotated[
        int | None, typer.Option(min=1, help="Hand out so many; no end otherwise.")
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when all of --tasks are decided.")
    ] = False,
    seed: Annotated[str | None, typer.Option(help="Of the order and the ids of the tasks.")] = None,
    cooldown: Annotated[
        int, typer.Option(min=0, help="Seconds between two tasks.")
    ] = DEFAULTS.cooldown_seconds,
    throttle: Annotated[
        int, typer.Option(min=0, help="Seconds of generation that are free.")
    ] = DEFAULTS.throttle_seconds,
    penalty: Annotated[
        int, typer.Option(min=0, help="Seconds more after a bad result.")
    ] = DEFAULTS.penalty_seconds,
    lock: Annotated[
        int, typer.Option(min=0, help="Seconds in which a further result is ignored.")
    ] = DEFAULTS.lock_seconds,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the ledger here over restarts.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write splats here.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the ledger as JSON.")
    ] = None,
) -> None:
    """Hand out tasks to miners by the subnet's rules, judge what they bring, show the ledger."""
    if until_done and tasks is None:
        raise BadOption("--until-done: of how many? give --tasks")
    snapshot = _peers(miner or [], peers)
    keypair = load_hotkey(hotkey_file) if hotkey_file else new_hotkey()
    rules = _rules(cooldown, throttle, penalty, lock)
    source = _tasks(prompts or [], prompt_file, image or [], seed or secrets.token_hex(8), tasks)
    ledger = Ledger(source, partial(_uid_of, snapshot), rules, state=_load(state))
    if output is not None:
        files.make_folder(output)
    show = _Validator(keypair, snapshot, ledger, tasks if until_done else None, state, output)
    asyncio.run(show.run(host, port))
    for line in (*task_table([*ledger.state.records.values()][-MAX_ROWS:]), *miner_table(ledger)):
        result(line)
    result(summary(ledger))
    if report_file is not None:
        files.write_atomic(report_file, json.dumps(report(ledger), indent=2).encode() + b"\n")


def _rules(cooldown: int, throttle: int, penalty: int, lock: int) -> Rules:
    """The subnet's, with these seconds; as there, a lock is over before the next task's result."""
    if throttle > cooldown:
        raise BadOption("--throttle: more than --cooldown")
    return Rules(
        cooldown_seconds=cooldown,
        throttle_seconds=throttle,
        penalty_seconds=penalty,
        lock_seconds=min(lock, cooldown - throttle),
    )


@dataclass(frozen=True)
class _Validator:
    """A validator of one command line.

    Attributes:
        enough: tasks to be decided before it ends by itself; None where it does not.
    """

    keypair: Signer
    peers: PeersSnapshot
    ledger: Ledger
    enough: int | None
    state: Path | None
    output: Path | None

    async def run(self, host: str, port: int) -> None:
        """Serves until a signal, or until all is done."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, done.set)
        service = ValidatorService(
            self.keypair.ss58_address,
            self.ledger,
            lambda: self.peers,
            changed=partial(self._changed, done.set),
            keep=self._keep if self.output else None,
        )
        async with AsyncExitStack() as stack:
            listening = await stack.enter_async_context(
                serve_validator(self.keypair, service, lambda: self.peers, host, port)
            )
            result(f"validator {service.hotkey} at {listening.host}:{listening.port}")
            await done.wait()
        Reporter().note("the validator has stopped")

    def _changed(self, finish: Callable[[], None]) -> None:
        if self.state is not None:
            files.write_atomic(self.state, self.ledger.state.model_dump_json().encode())
        decided = sum(record.verdict is not None for record in self.ledger.state.records.values())
        if self.enough is not None and decided >= self.enough:
            # The last reply is on its way: leaving waits for it.
            finish()

    def _keep(self, task: SubnetTask, data: bytes) -> None:
        assert self.output is not None
        files.write_atomic(self.output / f"{task.id}.spz", data)


def _uid_of(peers: PeersSnapshot, hotkey: str) -> int | None:
    peer = peers.get(hotkey)
    return None if peer is None else peer.uid


def _peers(miners: list[str], path: Path | None) -> PeersSnapshot:
    if path is not None:
        if miners:
            raise BadOption("either --peers or --miner")
        return read_static_peers(path)
    if not miners:
        raise BadOption("nobody could pull: give a miner's hotkey with --miner, or --peers")
    for hotkey in miners:
        if not is_address(hotkey):
            raise BadOption(f"--miner {hotkey!r}: not the ss58 address of a hotkey")
    return PeersSnapshot.of(
        *(
            Peer(hotkey=hotkey, uid=uid, stake=0.0, validator_permit=False)
            for uid, hotkey in enumerate(dict.fromkeys(miners))
        )
    )


def _tasks(
    prompts: list[str], prompt_file: Path | None, images: list[Path], seed: str, count: int | None
) -> TaskList:
    texts = list(prompts)
    if prompt_file is not None:
        try:
            lines = _read(prompt_file, 16 * 2**20).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise BadOption(f"{prompt_file}: is not UTF-8 text") from error
        texts += [line for line in lines if line.strip()]
    pictures = [_read(path, MAX_PICTURE_BYTES) for path in images]
    if not texts and not pictures:
        texts = list(TEXTS)
    return TaskList(texts, pictures, seed, count, TEXT_SHARE)


def _load(path: Path | None) -> LedgerState | None:
    if path is None or not path.exists():
        return None
    try:
        return LedgerState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadOption(f"--state {path}: not a ledger of this program") from error


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BadOption(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise BadOption(f"{path}: longer than {limit} bytes")
    return data
