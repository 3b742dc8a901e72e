"""Frames between the daemon and a worker."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import ChannelError
from miner.workers.channel import (
    MAX_HEAD_BYTES,
    MAX_PAYLOAD_BYTES,
    AsyncChannel,
    BlockingChannel,
    Message,
    pack,
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
heads = st.dictionaries(st.text(), json_values, max_size=4)


@contextmanager
def pair() -> Iterator[tuple[socket.socket, BlockingChannel]]:
    """A plain socket and the channel at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, BlockingChannel(theirs)


@given(heads, st.binary(max_size=200))
def test_what_is_sent_is_received(head: dict[str, Any], payload: bytes) -> None:
    """A message arrives as it was sent, whatever its values and bytes are."""
    with pair() as (ours, channel):
        BlockingChannel(ours).send(head, payload)

        assert channel.receive() == Message(head, payload)


@given(st.binary(max_size=200))
def test_nonsense_ends_the_channel(data: bytes) -> None:
    """Bytes that are no frame raise ChannelError or end the channel, and nothing else."""
    with pair() as (ours, channel):
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        try:
            while (message := channel.receive()) is not None:
                assert isinstance(message.head, dict)
        except ChannelError:
            pass


@pytest.mark.parametrize(
    "lengths", [(MAX_HEAD_BYTES + 1, 0), (2, MAX_PAYLOAD_BYTES + 1), (2**32 - 1, 2**64 - 1)]
)
def test_too_long_is_refused_before_it_is_read(lengths: tuple[int, int]) -> None:
    """A frame that says it is longer than a message may be is not waited for."""
    with pair() as (ours, channel):
        ours.sendall(struct.pack(">IQ", *lengths))
        with pytest.raises(ChannelError, match="over the limit"):
            channel.receive()


def test_too_long_is_not_sent() -> None:
    """A head over the limit is refused where it is made."""
    with pytest.raises(ChannelError, match="over the limit"):
        pack(Message({"type": "x" * MAX_HEAD_BYTES}))


def test_the_end_between_messages_is_no_error() -> None:
    """None comes when the other end has closed after a whole message, and an error otherwise."""
    with pair() as (ours, channel):
        ours.sendall(pack(Message({"type": "a"})) + b"\0")
        ours.shutdown(socket.SHUT_WR)

        assert channel.receive() == Message({"type": "a"})
        with pytest.raises(ChannelError):
            channel.receive()
    with pair() as (ours, channel):
        ours.close()

        assert channel.receive() is None


async def test_the_two_ends_understand_each_other() -> None:
    """The event loop's end and the threads' end exchange messages larger than any buffer."""
    ours, theirs = socket.socketpair()
    blocking = BlockingChannel(theirs)
    large = bytes(range(256)) * 20_000
    channel = await AsyncChannel.open(ours)
    try:
        echoed = asyncio.create_task(asyncio.to_thread(_echo, blocking, 2))
        await channel.send({"n": 1}, large)
        channel.post({"n": 2})
        await channel.send({"n": 3})

        assert await channel.receive() == Message({"n": 1}, large)
        assert await channel.receive() == Message({"n": 2})
        await echoed
    finally:
        await channel.close()
    assert await asyncio.to_thread(blocking.receive) == Message({"n": 3})
    assert await asyncio.to_thread(blocking.receive) is None
    blocking.close()


def _echo(channel: BlockingChannel, times: int) -> None:
    for _ in range(times):
        message = channel.receive()
        assert message is not None
        channel.send(message.head, message.payload)


async def test_an_end_that_has_gone_is_an_error() -> None:
    """Sending to, and reading half a message of, an end that has gone raises ChannelError."""
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\0\0")
    theirs.close()
    channel = await AsyncChannel.open(ours)
    try:
        with pytest.raises(ChannelError, match="middle"):
            await channel.receive()
        with pytest.raises(ChannelError):
            await channel.send({"type": "x"})
            await channel.send({"type": "x"})
    finally:
        await channel.close()
