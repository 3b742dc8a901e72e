"""Messages of a worker and the calls that carry them: none is lost, or comes out of order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from miner.errors import ChannelError
from miner.ray_workers.mailbox import ALONE_HEARTBEATS, MAX_BATCH_BYTES, Mailbox
from miner.ray_workers.wire import framed, unframed
from miner.workers.channel import Message
from miner.workers.messages import ALIVE, CONFIGURE, DONE, JOB

LONG = 1000.0


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Two, as the actor has for its calls."""
    with ThreadPoolExecutor(2) as made:
        yield made


def jobs(*numbers: int) -> bytes:
    return b"".join(framed(Message({"type": JOB, "number": one}, b"picture")) for one in numbers)


def configured(heartbeat_seconds: float, max_batch_bytes: int = MAX_BATCH_BYTES) -> Mailbox:
    """After its first call; the next has the number 2."""
    made = Mailbox(max_batch_bytes)
    made.send({"type": "any"})
    made.exchange(1, framed(Message({"type": CONFIGURE, "heartbeat_seconds": heartbeat_seconds})))
    made.receive()
    return made


def types(said: bytes | None) -> list[str]:
    assert said is not None
    return [message.type for message in unframed(said)]


def answer(call: Future[bytes | None]) -> bytes | None:
    return call.result(timeout=60.0)


def test_frames_come_apart_as_they_were_put_together() -> None:
    """Any bytes may be in a payload; what was cut is an error."""
    messages = [Message({"type": "a"}), Message({"n": 1}, bytes(range(256))), Message({}, b"\0")]
    data = b"".join(map(framed, messages))

    assert list(unframed(data)) == messages
    for cut in (3, len(data) - 20):
        with pytest.raises(ChannelError, match="in the middle"):
            list(unframed(data[:cut]))


def test_a_call_that_overtakes_waits(threads: ThreadPoolExecutor) -> None:
    """The worker gets its messages in the order of the calls' numbers."""
    box = Mailbox()
    second = threads.submit(box.exchange, 2, jobs(2, 3))
    first = threads.submit(box.exchange, 1, jobs(1))
    came = [box.receive() for _ in range(3)]
    box.send({"type": DONE})

    assert [message.head["number"] for message in came if message] == [1, 2, 3]
    assert types(answer(first)) + types(answer(second)) == [DONE]  # whoever was the first to wake


def test_the_next_call_ends_the_one_that_waits(threads: ThreadPoolExecutor) -> None:
    """It is answered at once, and what is said later is the next call's: nothing is lost."""
    box = configured(LONG)
    waiting = threads.submit(box.exchange, 2, b"")
    telling = threads.submit(box.exchange, 3, jobs(7))

    assert answer(waiting) == b""
    assert not telling.done()
    box.send({"type": DONE, "number": 7})
    assert types(answer(telling)) == [DONE]


def test_what_was_said_between_two_calls_is_kept() -> None:
    """Messages without a call that waits are in the answer to the next one, in order."""
    box = configured(LONG)
    for number in range(3):
        box.send({"type": DONE, "number": number}, b"asset")
    said = box.exchange(2, b"")

    assert said is not None
    assert [message.head["number"] for message in unframed(said)] == [0, 1, 2]


def test_signs_of_life_wait_for_company(threads: ThreadPoolExecutor) -> None:
    """One does not end a call by itself before its time; what ends the call takes it along."""
    box = configured(LONG)
    box.send({"type": ALIVE})
    call = threads.submit(box.exchange, 2, b"")
    box.send({"type": ALIVE})
    assert not call.done()
    box.send({"type": DONE})

    assert types(answer(call)) == [ALIVE, ALIVE, DONE]


def test_signs_of_life_go_alone_in_time() -> None:
    """With nothing else to say a worker is heard all the same."""
    box = configured(heartbeat_seconds=0.001)
    box.send({"type": ALIVE})

    assert types(box.exchange(2, b"")) == [ALIVE]
    assert ALONE_HEARTBEATS < 2  # what hang_seconds are at least


def test_a_large_answer_is_cut() -> None:
    """An answer ends after so many bytes; the rest is in the next ones, at once and in order."""
    box = configured(LONG, max_batch_bytes=1000)
    box.send({"type": "first"}, bytes(1000))
    box.send({"type": "second"})

    assert types(box.exchange(2, b"")) == ["first"]
    assert types(box.exchange(3, b"")) == ["second"]


def test_the_end_comes_last() -> None:
    """After the worker's end its last messages are fetched first."""
    box = configured(LONG)
    box.send({"type": "last"})
    box.end()

    assert types(box.exchange(2, b"")) == ["last"]
    assert box.exchange(3, b"") is None
