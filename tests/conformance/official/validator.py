"""The official server as a program: in front of a validator that lives in another process.

    python validator.py PORT KEY_URI RELAY_URL

Verifies who calls, parses the messages, and asks the relay for the answers, with the caller's
hotkey as the library hands it to a validator. Prints a line of JSON when it listens and ends with
its stdin. No ``from __future__ import annotations`` here: the library reads the annotations of the
functions attached to it.
"""

# ruff: noqa: E402 - stdout is taken before anything that might print is imported

import json
import sys
from pathlib import Path
from typing import Any, Tuple  # noqa: UP035 - the library compares the annotation itself

sys.path.insert(0, str(Path(__file__).parent))
import lines

ANSWERS = lines.own_stdout()

import aiohttp
from axons import make_axon, wait_until_it_listens
from bittensor_wallet import Keypair
from messages import GetVersion, PullTask, SubmitResults

PORT, KEY, RELAY = sys.argv[1:]


async def ask(page: str, synapse: Any) -> dict[str, Any]:
    """What the validator says to this caller."""
    question = {"hotkey": synapse.dendrite.hotkey, "body": synapse.model_dump(mode="json")}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{RELAY}/{page}", json=question) as reply,
    ):
        reply.raise_for_status()
        answer: dict[str, Any] = await reply.json()
        return answer


def fill(synapse: Any, answer: dict[str, Any]) -> Any:
    """The caller's own message, with the answer's fields."""
    parsed = type(synapse).model_validate(answer)
    for name in answer:
        setattr(synapse, name, getattr(parsed, name))
    return synapse


async def pull_task(synapse: PullTask) -> PullTask:
    """Hands out a task."""
    return fill(synapse, await ask("PullTask", synapse))


async def submit_results(synapse: SubmitResults) -> SubmitResults:
    """Takes a result."""
    return fill(synapse, await ask("SubmitResults", synapse))


async def get_version(synapse: GetVersion) -> GetVersion:
    """Tells versions."""
    return fill(synapse, await ask("GetVersion", synapse))


async def refuse(synapse: SubmitResults) -> Tuple[bool, str]:  # noqa: UP006
    """Looks at the headers alone; the body is not parsed yet."""
    reason = (await ask("refusal", synapse))["reason"]
    return reason is not None, str(reason)


def main() -> None:
    """Serves until stdin ends."""
    sys.argv[1:] = []  # the library reads the command line too
    keypair = Keypair.create_from_uri(KEY)
    axon = make_axon(keypair, int(PORT))
    axon.attach(pull_task).attach(submit_results, blacklist_fn=refuse).attach(get_version)
    axon.start()
    wait_until_it_listens(int(PORT))
    ANSWERS.write(json.dumps({"hotkey": keypair.ss58_address}) + "\n")
    ANSWERS.flush()
    sys.stdin.read()
    axon.stop()


main()
