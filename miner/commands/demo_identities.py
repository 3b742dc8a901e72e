"""``miner demo --identities 3``: several hotkeys share the workers, and one of them is flooded.

A daemon on the embedded preset that serves so many hotkeys. A validator asks the first one for far
more than the others are asked for: what it cannot take it refuses, and theirs go on being served.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import typer

from miner import files
from miner.admission.signature import Signer, new_hotkey, write_hotkey
from miner.commands.console import Reporter, result
from miner.commands.demo_miner import DemoMiner, running, write_settings
from miner.errors import BadOption
from miner.network.dendrite import Dendrite
from miner.network.load import Answer, Order, Target, Validator
from miner.network.load_report import table

MOST = 16
STAKE = 25_000.0
FLOOD, CALM = 24, 4
"""Requests to the first hotkey, all at once, and to each of the others, one after the other."""

PLACES_EACH = 8
"""Of the queue: the flood finds its own places full, and nobody else's."""

PROMPTS = ("a red cube", "a blue car", "a green tree", "a yellow mug")
LIMIT_SECONDS = 240.0
FULL = 503


def demo_identities(count: int, output: Path, reporter: Reporter) -> None:
    """Starts the daemon, floods one identity, and shows how all were served.

    Raises:
        BadOption: too few or too many.
        ControlError: the daemon did not start.
    """
    if not 2 <= count <= MOST:
        raise BadOption(f"--identities: from 2 to {MOST}")
    files.make_folder(output)
    validator = new_hotkey()
    with tempfile.TemporaryDirectory(prefix="miner-demo-") as name:
        folder, log = Path(name), output / "daemon.log"
        settings, _ = write_settings(folder, [(validator, STAKE)])
        hotkeys = _add_identities(folder, settings, count)
        reporter.note(f"starting a daemon with {count} hotkeys; its log is {log}")
        with running(settings, next(iter(hotkeys.values())), log) as miner:
            reporter.note(f"ready after {miner.seconds:.1f} s; one of them is flooded")
            answers = asyncio.run(_call(miner, hotkeys, validator))
    for name, those in answers.items():
        result(f"identity {name}")
        for line in table([one for one in those if one.ok][:CALM]):
            result(f"  {line}")
    for name, those in answers.items():
        result(_summary(name, those))
    if wrong := [one for those in answers.values() for one in those if not _is_fair(one)]:
        result(f"{len(wrong)} answers are neither a splat nor a full queue: {wrong[0].message}")
        raise typer.Exit(1)
    if any(not one.ok for those in list(answers.values())[1:] for one in those):
        result("a flood of one hotkey was felt by another")
        raise typer.Exit(1)


def _add_identities(folder: Path, settings: Path, count: int) -> dict[str, str]:
    """Writes their keys and tables; their hotkeys by name."""
    hotkeys, tables = {}, f"\n[queue]\nmax_depth = {PLACES_EACH * (count + 1)}\n"
    for number in range(1, count + 1):
        name, key = f"number-{number}", folder / f"hotkey-{number}"
        hotkeys[name] = write_hotkey(key).ss58_address
        path = json.dumps(str(key))
        tables += f'\n[[identity]]\nname = "{name}"\nwallet.hotkey_file = {path}\naxon.port = 0\n'
    files.write_atomic(settings, settings.read_bytes() + tables.encode())
    return hotkeys


async def _call(
    miner: DemoMiner, hotkeys: dict[str, str], signer: Signer
) -> dict[str, Sequence[Answer]]:
    """The flood and the calm ones at the same time; all answers by identity."""
    async with Dendrite(signer) as dendrite:

        async def ask(name: str, number: int) -> Answer:
            address = miner.addresses[f"axon/{name}"].removeprefix("http://")
            seed = number + FLOOD * list(hotkeys).index(name)  # equal ones would be made once
            order = Order(PROMPTS[number % len(PROMPTS)], seed=seed)
            asking = Validator(dendrite, Target(address, hotkeys[name]))
            return await asking.generate(order, LIMIT_SECONDS)

        async def in_turn(name: str) -> Sequence[Answer]:
            return [await ask(name, number) for number in range(CALM)]

        first, *others = hotkeys
        flood = asyncio.gather(*(ask(first, number) for number in range(FLOOD)))
        calm = asyncio.gather(*(in_turn(name) for name in others))
        return {first: await flood, **dict(zip(others, await calm, strict=True))}


def _is_fair(answer: Answer) -> bool:
    return answer.ok or (answer.status == FULL and "waiting" in answer.message)


def _summary(name: str, answers: Sequence[Answer]) -> str:
    done = [answer.seconds for answer in answers if answer.ok]
    refused = len(answers) - len(done)
    typical = f", {median(done):.1f} s in the middle" if done else ""
    return f"{name}: {len(answers)} asked, {len(done)} done, {refused} refused{typical}"
