"""The official server as a program: a miner with the behaviour of these tests.

    python server.py PORT KEY_URI [DENIED_HOTKEY]

Prints a line of JSON when it listens and ends with its stdin. No ``from __future__ import
annotations`` here: the library reads the annotations of the functions attached to it.
"""

# ruff: noqa: E402 - stdout is taken before anything that might print is imported

import json
import sys
from pathlib import Path
from typing import Tuple  # noqa: UP035 - the library compares the annotation itself

sys.path.insert(0, str(Path(__file__).parent))
import lines

ANSWERS = lines.own_stdout()

from axons import make_axon, wait_until_it_listens
from behaviour import DENIED_REASON, results_for
from bittensor_wallet import Keypair
from messages import Generate3D, TGPoll, TGTask

PORT, KEY, *DENIED = sys.argv[1:]


async def generate(synapse: Generate3D) -> Generate3D:
    """Answers as ``behaviour`` says."""
    synapse.results = await results_for(synapse.prompt or "")
    synapse.generator = "stub"
    return synapse


def refuse(synapse: Generate3D) -> Tuple[bool, str]:  # noqa: UP006
    """Refuses the hotkeys of the command line."""
    return synapse.dendrite.hotkey in DENIED, DENIED_REASON


def take(synapse: TGTask) -> TGTask:
    """Takes every task."""
    synapse.status = "IN QUEUE"
    return synapse


async def poll(synapse: TGPoll) -> TGPoll:
    """Every task is done: its id was the prompt."""
    synapse.status, synapse.results = "DONE", await results_for(synapse.task_id)
    return synapse


def main() -> None:
    """Serves until stdin ends."""
    sys.argv[1:] = []  # the library reads the command line too
    keypair = Keypair.create_from_uri(KEY)
    axon = make_axon(keypair, int(PORT))
    for forward, blacklist in ((generate, refuse), (take, None), (poll, None)):
        axon.attach(forward, blacklist_fn=blacklist)
    axon.start()
    wait_until_it_listens(int(PORT))
    ANSWERS.write(json.dumps({"hotkey": keypair.ss58_address}) + "\n")
    ANSWERS.flush()
    sys.stdin.read()
    axon.stop()


main()
