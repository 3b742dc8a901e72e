"""How the bridge calls an actor: on an actor that answers when the test says so, without Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from miner.ray_workers.bridge import MAX_CALLS, Remote
from miner.ray_workers.wire import BORN, GONE, SAID, versions
from tests.fakes.workers import until

RAY = "2.60.0"


class Method:
    """``actor.method`` of a handle: ``remote`` calls it."""

    def __init__(self, remote: Callable[..., asyncio.Future[Any]]) -> None:
        self.remote = remote


class Actor:
    """Greets and starts; a call to ``exchange`` is kept until the test answers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bytes, asyncio.Future[Any]]] = []
        self.refuses: Exception | None = None
        self.hello = Method(
            lambda: answered({"pid": 7, "node": "10.0.0.1", "versions": versions(RAY)})
        )
        self.start = Method(lambda _engine: answered(None))
        self.exchange = Method(self._exchange)

    def _exchange(self, number: int, told: bytes) -> asyncio.Future[Any]:
        if self.refuses is not None:
            raise self.refuses
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls.append((number, told, answer))
        return answer

    def answer(self, number: int, said: bytes | None) -> None:
        self.calls[number - 1][2].set_result(said)

    @property
    def told(self) -> list[bytes]:
        return [told for _, told, _ in self.calls]


class Ray:
    """What of the module the bridge uses for one actor."""

    __version__ = RAY

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self.killed = False

    def remote(self, **_wishes: Any) -> Callable[[type], Method]:
        return lambda _kind: Method(lambda: self._actor)  # type: ignore[arg-type, return-value]

    def kill(self, _actor: Actor) -> None:
        self.killed = True


class Daemon:
    """The other end of the bridge's channel."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    async def send(self, head: dict[str, Any], payload: bytes = b"") -> None:
        self.heard.append((head["type"], payload or head.get("message")))


def answered(value: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Remote, Actor, Daemon]]:
    """An actor that was born and has its first call."""
    actor, daemon = Actor(), Daemon()
    ray = Ray(actor)
    remote = Remote("0.1", daemon, ray)  # type: ignore[arg-type]
    wishes = {"num_gpus": 0, "num_cpus": 0, "memory": 0, "environment": {}}
    run = asyncio.create_task(remote.run("module:Engine", wishes))
    await until(lambda: len(actor.calls) == 1)
    yield remote, actor, daemon
    remote.end()
    await run
    assert ray.killed
    assert daemon.heard[0][0] == BORN
    assert daemon.heard[-1][0] == GONE


async def test_a_message_does_not_wait_for_an_answer() -> None:
    """It goes with a second call at once; those after it go together when one was answered."""
    async with serving() as (remote, actor, _):
        for message in (b"1", b"2", b"3"):
            remote.tell(message)
        assert actor.told == [b"", b"1"]
        assert len(actor.calls) == MAX_CALLS
        actor.answer(1, b"")
        await until(lambda: len(actor.calls) == 3)

    assert actor.told == [b"", b"1", b"23"]
    assert [number for number, _, _ in actor.calls] == [1, 2, 3]


async def test_answers_are_passed_on_in_the_order_of_the_calls() -> None:
    """One that overtakes another waits for it."""
    async with serving() as (remote, actor, daemon):
        remote.tell(b"job")
        actor.answer(2, b"second")
        actor.answer(1, b"first")
        await until(lambda: len(daemon.heard) == 3)

    assert [said for kind, said in daemon.heard if kind == SAID] == [b"first", b"second"]


async def test_somebody_always_listens() -> None:
    """After an answer the next call is made without anything to tell."""
    async with serving() as (_, actor, _):
        actor.answer(1, b"progress")
        await until(lambda: len(actor.calls) == 2)

    assert actor.told == [b"", b""]


async def test_a_call_that_fails_ends_the_worker() -> None:
    """Nothing is known of what it carried: the worker is gone, in the words of the error."""
    async with serving() as (_, actor, daemon):
        actor.calls[0][2].set_exception(RuntimeError("the actor\ndied"))
        await until(lambda: daemon.heard[-1][0] == GONE)

    assert daemon.heard[-1] == (GONE, "the actor died")


async def test_a_call_that_cannot_be_made_ends_the_worker() -> None:
    """A message that Ray does not take costs its worker alone: the bridge goes on."""
    async with serving() as (remote, actor, daemon):
        actor.refuses = MemoryError("the object store is full")
        remote.tell(b"a picture")
        actor.answer(1, b"")
        await until(lambda: daemon.heard[-1][0] == GONE)

    assert daemon.heard[-1] == (GONE, "the object store is full")


async def test_the_end_of_the_worker() -> None:
    """An answer of None is its end; what it said before has come."""
    async with serving() as (_, actor, daemon):
        actor.answer(1, b"failed")
        await until(lambda: len(actor.calls) == 2)
        actor.answer(2, None)
        await until(lambda: daemon.heard[-1][0] == GONE)

    assert daemon.heard[1:] == [(SAID, b"failed"), (GONE, "it ended")]
