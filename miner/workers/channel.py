"""Framed messages between the daemon and a worker process, over a pair of connected sockets.

A frame is the length of its head (4 bytes), the length of its payload (8 bytes, both big-endian),
the head, which is a JSON object, and the payload: bytes that JSON would only make larger. Nothing
is pickled, so a message can hold nothing but values.

    parent = AsyncChannel        in the event loop
    child  = BlockingChannel     in threads

This file knows nothing of what the messages say. A head has at most ``MAX_HEAD_BYTES`` and a
payload ``MAX_PAYLOAD_BYTES``: what is longer ends the channel, for no message of ours is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miner.errors import ChannelError

MAX_HEAD_BYTES = 1 << 20
"""Room for a preset, and for a prompt many times over."""

MAX_PAYLOAD_BYTES = 1 << 29
"""Above the largest asset: 500,000 Gaussians with all harmonics are 124 MB as PLY."""

_PREFIX = struct.Struct(">IQ")
PREFIX_BYTES = _PREFIX.size
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Message:
    """What one frame holds.

    Attributes:
        head: JSON values by name; "type" says what the message is.
        payload: bytes that belong to it, often none.
    """

    head: Mapping[str, Any]
    payload: bytes = field(default=b"", repr=False)

    @property
    def type(self) -> str:
        """What the message is; empty where it does not say."""
        return str(self.head.get("type", ""))


def pack(message: Message) -> bytes:
    """Everything of a frame but its payload, which follows as it is.

    Raises:
        ChannelError: longer than a message may be.
    """
    head = json.dumps(message.head, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
    _check_lengths(len(head), len(message.payload))
    return _PREFIX.pack(len(head), len(message.payload)) + head


def unpack_prefix(prefix: bytes) -> tuple[int, int]:
    """Lengths of head and payload.

    Raises:
        ChannelError: longer than a message may be.
    """
    head_bytes, payload_bytes = _PREFIX.unpack(prefix)
    _check_lengths(head_bytes, payload_bytes)
    return head_bytes, payload_bytes


def unpack_head(data: bytes) -> Mapping[str, Any]:
    """The head of a frame.

    Raises:
        ChannelError: not a JSON object.
    """
    try:
        head = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ChannelError(f"a message's head is not JSON: {error}") from error
    if not isinstance(head, dict):
        raise ChannelError("a message's head is not a JSON object")
    return head


def _check_lengths(head_bytes: int, payload_bytes: int) -> None:
    if head_bytes > MAX_HEAD_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise ChannelError(f"a message of {head_bytes} + {payload_bytes} bytes is over the limit")


class AsyncChannel:
    """One end, for an event loop. One task receives; any number may send.

    Built by ``open``; whoever opens it closes it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> AsyncChannel:
        """Takes over one end of a pair, which it will close."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Hands a message over; waits while the other end is far behind.

        A message is sent whole or not at all, also when the caller is cancelled.

        Raises:
            ChannelError: the other end has gone, or the message is too long.
        """
        frame = pack(Message(head, payload))
        if self._writer.is_closing():
            raise ChannelError("the channel is closed")
        try:
            self._writer.write(frame)
            if payload:
                self._writer.write(payload)
            await self._writer.drain()
        except OSError as error:
            raise ChannelError(f"the other end has gone: {error}") from error

    def post(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Sends a small message without waiting; to an end that has gone it goes nowhere."""
        if not self._writer.is_closing():
            self._writer.write(pack(Message(head, payload)) + payload)

    async def receive(self) -> Message | None:
        """The next message; None when the other end has closed the channel between two.

        Raises:
            ChannelError: it closed in the middle of one, or sent what is no message.
        """
        try:
            prefix = await self._reader.readexactly(_PREFIX.size)
            head_bytes, payload_bytes = unpack_prefix(prefix)
            head = unpack_head(await self._reader.readexactly(head_bytes))
            payload = await self._reader.readexactly(payload_bytes) if payload_bytes else b""
        except asyncio.IncompleteReadError as error:
            if error.expected == _PREFIX.size and not error.partial:
                return None
            raise ChannelError("the other end went away in the middle of a message") from error
        except OSError as error:
            raise ChannelError(f"the other end has gone: {error}") from error
        return Message(head, payload)

    async def close(self) -> None:
        """Closes this end; what was not sent yet is dropped."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class BlockingChannel:
    """One end, for threads. One thread receives; any number may send."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(True)
        self._sending = threading.Lock()

    def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Returns when the message is on its way.

        Raises:
            ChannelError: the other end has gone, or the message is too long.
        """
        frame = pack(Message(head, payload))
        try:
            with self._sending:
                self._socket.sendall(frame)
                if payload:
                    self._socket.sendall(payload)
        except OSError as error:
            raise ChannelError(f"the other end has gone: {error}") from error

    def receive(self) -> Message | None:
        """The next message; None when the other end has closed the channel between two.

        Raises:
            ChannelError: it closed in the middle of one, or sent what is no message.
        """
        prefix = self._read(_PREFIX.size, may_end=True)
        if prefix is None:
            return None
        head_bytes, payload_bytes = unpack_prefix(prefix)
        head = unpack_head(self._read(head_bytes) or b"")
        return Message(head, self._read(payload_bytes) or b"")

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()

    def _read(self, count: int, may_end: bool = False) -> bytes | None:
        """Exactly ``count`` bytes; None at the end of the stream where it ``may_end`` here."""
        data = bytearray()
        while len(data) < count:
            try:
                piece = self._socket.recv(min(count - len(data), _CHUNK_BYTES))
            except OSError as error:
                raise ChannelError(f"the other end has gone: {error}") from error
            if not piece:
                if may_end and not data:
                    return None
                raise ChannelError("the other end went away in the middle of a message")
            data += piece
        return bytes(data)
