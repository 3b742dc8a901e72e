"""Where a worker in an actor and the calls of the bridge meet: messages both ways in one call.

A call costs some milliseconds of several processes, whatever it carries. So there is one that does
everything: it brings messages in, waits for those that go out, and is answered at once when the
next call comes. Calls are numbered: they may overtake each other on their way, messages may not.
Messages that go out wait for others a moment, and signs of life longer. Uses nothing of Ray.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from miner.ray_workers.wire import framed, unframed
from miner.workers.channel import Message
from miner.workers.messages import ALIVE, CONFIGURE

LISTEN_SECONDS = 5.0
"""After which a call without news is answered, so that none is lost with a connection."""

LINGER_SECONDS = 0.002
"""For a message that comes right after: the end of a short encoding, after that of the device."""

ALONE_HEARTBEATS = 1.5
"""Fewer than the two after which, at the earliest, a worker that is silent is taken for hung."""

MAX_BATCH_BYTES = 1 << 27
"""A channel carries four times as much."""


class Mailbox:
    """One worker's messages; what ``Worker`` takes for its end of a channel.

    Signs of life go with whatever else is said, or alone after ``ALONE_HEARTBEATS`` without a word.

    Args:
        max_batch_bytes: an answer that has so many takes no further message.
    """

    def __init__(self, max_batch_bytes: int = MAX_BATCH_BYTES) -> None:
        self._max_batch_bytes = max_batch_bytes
        self._inward: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._changed = threading.Condition()  # guards all that follows
        self._outward: deque[bytes] = deque()
        self._due_at = math.inf
        self._said_at = time.monotonic()
        self._heartbeat_seconds = 0.0
        self._number = 0  # of the call that listens
        self._ended = False

    # The worker's end

    def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Puts a message where a call finds it."""
        frame = framed(Message(head, payload))
        with self._changed:
            self._outward.append(frame)
            if head.get("type") == ALIVE:
                self._answer_by(self._said_at + ALONE_HEARTBEATS * self._heartbeat_seconds)
            else:
                self._answer_by(time.monotonic() + LINGER_SECONDS)

    def receive(self) -> Message | None:
        """The next message that a call brought."""
        return self._inward.get()

    def end(self) -> None:
        """Nothing will be said any more."""
        with self._changed:
            self._ended = True
            self._answer_by(-math.inf)

    # The bridge's end

    def exchange(self, number: int, told: bytes) -> bytes | None:
        """Brings messages in, and returns those that go out after waiting for some.

        Returns without any when the next call has come, or none was said for long.

        Args:
            number: of the call, counted from 1; it begins after the one before it.
            told: messages for the worker, framed one after the other.

        Returns:
            The worker's messages, framed likewise; None once it has ended and all were fetched.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number == number - 1)
            self._number = number
            self._changed.notify_all()
            for message in unframed(told):
                if message.type == CONFIGURE:
                    self._heartbeat_seconds = float(message.head["heartbeat_seconds"])
                self._inward.put(message)
            until = time.monotonic() + LISTEN_SECONDS
            while self._number == number:
                left = min(until, self._due_at) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._take()

    def _answer_by(self, due_at: float) -> None:
        if due_at < self._due_at:
            self._due_at = due_at
            self._changed.notify_all()

    def _take(self) -> bytes | None:
        if not self._outward:
            return None if self._ended else b""
        taken, size = [], 0
        while self._outward and size < self._max_batch_bytes:
            taken.append(self._outward.popleft())
            size += len(taken[-1])
        self._due_at = -math.inf if self._outward or self._ended else math.inf
        self._said_at = time.monotonic()
        return b"".join(taken)
