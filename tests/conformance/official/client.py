"""The official client as a program: calls a miner when a line on stdin says so.

Run by the interpreter of an environment that has the official library. Each line asks for one call:
address, hotkey, the message's name and fields, timeout, the URI of the key, and optionally how the
request is to be spoilt (the names of ``SPOILERS``). The answer is what the library's caller gets to
see.
"""

# ruff: noqa: E402 - stdout is taken before anything that might print is imported

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import lines

ANSWERS = lines.own_stdout()

import bittensor
from bittensor.core.chain_data import AxonInfo
from bittensor.core.dendrite import Dendrite
from bittensor.utils import networking
from bittensor_wallet import Keypair
from messages import MESSAGES

# The constructor asks services of the internet for its own address; only the header's text and
# the detour over 0.0.0.0 for one's own address depend on it.
networking.get_external_ip = lambda: "192.0.2.7"


class Spoilt(Dendrite):
    """The official client with one thing done wrong after it has signed."""

    spoil = None
    last: Any = None

    def preprocess_synapse_for_request(self, *args: Any, **kwargs: Any) -> Any:
        synapse = super().preprocess_synapse_for_request(*args, **kwargs)
        if self.spoil is not None:
            SPOILERS[self.spoil](self, synapse)
        Spoilt.last = synapse.dendrite.model_copy()
        return synapse


def sign(client: Dendrite, synapse: Any, keypair: Keypair) -> None:
    """Signs again after a change."""
    sender = synapse.dendrite
    message = (
        f"{sender.nonce}.{sender.hotkey}.{synapse.axon.hotkey}.{sender.uuid}.{synapse.body_hash}"
    )
    sender.signature = f"0x{keypair.sign(message).hex()}"


def with_nonce(offset_seconds: float) -> Any:
    """A correctly signed request from another time."""

    def spoil(client: Dendrite, synapse: Any) -> None:
        synapse.dendrite.nonce = time.time_ns() + int(offset_seconds * 1e9)
        sign(client, synapse, client.keypair)

    return spoil


def unsigned(client: Dendrite, synapse: Any) -> None:
    synapse.dendrite.signature = None


def no_nonce(client: Dendrite, synapse: Any) -> None:
    synapse.dendrite.nonce = None


def no_hotkey(client: Dendrite, synapse: Any) -> None:
    synapse.dendrite.hotkey = None


def wrong_key(client: Dendrite, synapse: Any) -> None:
    sign(client, synapse, Keypair.create_from_uri("//Mallory"))


def changed_after_signing(client: Dendrite, synapse: Any) -> None:
    synapse.prompt = "something else"


def replayed(client: Dendrite, synapse: Any) -> None:
    synapse.dendrite = Spoilt.last.model_copy()


SPOILERS = {
    "unsigned": unsigned,
    "no nonce": no_nonce,
    "no hotkey": no_hotkey,
    "wrong key": wrong_key,
    "stale": with_nonce(-120),
    "changed after signing": changed_after_signing,
    "replayed": replayed,
}


async def handle(question: dict[str, Any]) -> Any:
    """One call, or the version."""
    if question["op"] == "version":
        return {"version": bittensor.__version__}
    target = AxonInfo(
        version=1,
        ip=question["ip"],
        port=question["port"],
        ip_type=4,
        hotkey=question["hotkey"],
        coldkey="",
    )
    synapse = MESSAGES[question["message"]](**question["fields"])
    async with Spoilt(wallet=Keypair.create_from_uri(question["key"])) as client:
        client.spoil = question.get("spoil")
        answer = await client.call(target, synapse, timeout=question["timeout"], deserialize=False)
    return answer.model_dump()


asyncio.run(lines.serve(ANSWERS, handle))
