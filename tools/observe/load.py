"""Work for a miner on loopback: signed requests of a validator and of a stranger, and noise."""

from __future__ import annotations

import asyncio
import socket
from itertools import count
from urllib.parse import urlsplit

from miner.admission.signature import Signer, new_hotkey
from miner.commands.demo_miner import DemoMiner
from miner.network.dendrite import Dendrite
from miner.network.load import Answer, Order, Target, Validator

THINGS = ("a red cube", "a wooden chair", "a blue car", "a green tree", "a yellow mug")
_numbers = count()


async def wave(miner: DemoMiner, validator: Signer, orders: int, limit_seconds: float) -> None:
    """So many requests of the validator at once, each for another splat, and one of a stranger.

    Args:
        miner: that answers.
        validator: one that it serves.
        orders: beyond what the queue holds they are refused.
        limit_seconds: what each request gives it.
    """
    target = Target(miner.addresses["axon"].removeprefix("http://"), miner.hotkey)
    async with Dendrite(validator) as known, Dendrite(new_hotkey()) as stranger:
        asking = Validator(known, target)
        calls = [asking.generate(_order(), limit_seconds) for _ in range(orders)]
        calls.append(Validator(stranger, target).generate(_order(), limit_seconds))
        answers: list[Answer] = await asyncio.gather(*calls)
    assert answers


def noise(miner: DemoMiner) -> None:
    """Something that is not HTTP, sent to the server of validators."""
    address = urlsplit(miner.addresses["axon"])
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(b"POST / HTTP/9.9\r\n\r\n")
        connection.settimeout(5)
        while connection.recv(4096):
            pass


def _order() -> Order:
    number = next(_numbers)
    return Order(THINGS[number % len(THINGS)], seed=number)
