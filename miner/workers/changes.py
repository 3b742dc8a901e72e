"""Waiting for a condition on state that others in the same event loop change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Whoever changes the state announces it; whoever waits looks again. One event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._followers: list[Callable[[object], None]] = []
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called at each announcement, inside it: it must not wait nor raise."""
        self._subscribers.append(changed)

    def follow(self, changed: Callable[[object], None]) -> None:
        """Has ``changed`` called with whoever changed, before everybody else hears of it."""
        self._followers.append(changed)

    def announce(self, who: object = None) -> None:
        """Tells everybody that something may be different now, of ``who`` where it is one."""
        for follower in self._followers:
            follower(who)
        event, self._event = self._event, asyncio.Event()
        event.set()
        for changed in self._subscribers:
            changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds; it is looked at now and after each announcement."""
        while not condition():
            await self._event.wait()
