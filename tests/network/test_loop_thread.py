"""A loop in a thread of its own: limits hold whatever runs there, and it ends where it can."""

from __future__ import annotations

import asyncio
import threading

import pytest

from miner.network.loop_thread import LoopThread


async def test_a_coroutine_runs_elsewhere_and_its_result_comes_back() -> None:
    """Values and errors cross over; the thread ends when it is closed, and closes twice."""
    thread = LoopThread("elsewhere")

    async def name() -> str:
        return threading.current_thread().name

    async def fails() -> None:
        raise ValueError("inside")

    assert await thread.call(name, 30) == "elsewhere"
    with pytest.raises(ValueError, match="inside"):
        await thread.call(fails, 30)
    assert await thread.close(30)
    assert await thread.close(30)
    assert not thread.is_alive


async def test_what_still_runs_is_cancelled_when_the_thread_is_closed() -> None:
    """Tasks that were left behind get to clean up."""
    thread, cleaned = LoopThread("x"), threading.Event()

    async def left_behind() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(left_behind())
        await asyncio.sleep(0)
        return task

    task = await thread.call(begin, 30)

    assert await thread.close(30)
    assert cleaned.is_set()
    assert task.cancelled()


async def test_one_that_ignores_cancellation_is_left_behind() -> None:
    """The limit holds for the caller; closing says that the thread has not ended."""
    thread, free, begun = LoopThread("stubborn"), threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def stubborn() -> None:
        loops.append(asyncio.get_running_loop())
        begun.set()
        while not free.is_set():
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                continue

    await thread.call(lambda: asyncio.sleep(0), 30)  # the thread is there, and begins at once
    calling = asyncio.create_task(thread.call(stubborn, 1.0))
    assert await asyncio.to_thread(begun.wait, 30)
    with pytest.raises(TimeoutError):
        await calling
    ended = await thread.close(0.05)
    assert not ended
    assert thread.is_alive
    free.set()
    async with asyncio.timeout(30):
        while thread.is_alive:
            for task in asyncio.all_tasks(loops[0]):
                loops[0].call_soon_threadsafe(task.cancel)
            await asyncio.sleep(0.01)


async def test_the_caller_being_cancelled_is_not_confused_with_the_inside() -> None:
    """A task that cancels itself inside is an error; our own cancellation stays one."""
    thread = LoopThread("x")

    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled inside"):
        await thread.call(cancels_itself, 30)
    waiting = asyncio.create_task(thread.call(lambda: asyncio.sleep(30), 30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await thread.close(30)
