"""Tells the service manager how the daemon is: the notification protocol of systemd, sd_notify(3).

A datagram of ``NAME=value`` lines to a Unix socket whose address the manager gives. Without a
manager, and where it does not listen, everything here does nothing: the daemon's work never depends
on it. When to say what is ``app/daemon.py``'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable

EXTEND_SECONDS = 30.0
"""How much time is asked for at once while loading or draining; asked again well before."""

EXTEND_EVERY_SECONDS = 10.0


class ServiceManager:
    """The manager's ear.

    Args:
        address: of its socket, ``NOTIFY_SOCKET``: a path, or a name with ``@`` in front in the
            abstract namespace. None where nobody manages us.
        watchdog_seconds: how often it wants to hear from us, at the latest; None for never.
        clock: monotonic seconds, the system's: a reload tells them to the manager.
        sleep: waits between two signs of life.
    """

    def __init__(
        self,
        address: str | None,
        watchdog_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds
        self._clock = clock
        self._sleep = sleep

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is over."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; to be followed by ``ready``."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1e6)}")

    def stopping(self, status: str) -> None:
        """The orderly stop begins."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line that ``systemctl status`` shows."""
        self._tell(f"STATUS={text}")

    async def extend(self, status: Callable[[], str]) -> None:
        """Asks for more time again and again, until cancelled: while loading or draining.

        Args:
            status: what to show meanwhile.
        """
        while True:
            self._tell(f"EXTEND_TIMEOUT_USEC={int(EXTEND_SECONDS * 1e6)}", f"STATUS={status()}")
            await self._sleep(EXTEND_EVERY_SECONDS)

    async def watchdog(self, well: Callable[[], bool]) -> None:
        """Gives signs of life in time, as long as ``well`` says so, until cancelled.

        It runs in the event loop on purpose: a loop that hangs gives no sign.
        """
        if self._watchdog_seconds is None:
            return
        while True:
            if well():
                self._tell("WATCHDOG=1")
            await self._sleep(self._watchdog_seconds / 3)

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines).encode()
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.setblocking(False)
            sock.sendto(message, self._address)
