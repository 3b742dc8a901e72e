"""Pictures and viewers' files of finished splats, made when somebody looks and never in a hurry.

Each is made by a process of its own that runs at the lowest priority (``picture_maker.py``):
the workers never wait for one, and the event loop does no arithmetic. One at a time, a bounded line
behind it, a limit of time, and the last pictures are kept.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict

from miner.errors import NotReady, UnknownRoute
from miner.job import Asset
from miner.settings import worker_environment

MAX_WAITING = 64
"""More than the last results of one page."""
MAX_KEPT = 256
"""Pictures, of some ten kilobytes each."""
LIMIT_SECONDS = 60.0

COMMAND = (sys.executable, "-m", "miner.network.picture_maker")


class Pictures:
    """Makes and keeps them.

    Args:
        command: the program; the last argument, "picture" or "view", is added.
        limit_seconds: one that takes longer is ended.
    """

    def __init__(
        self, command: tuple[str, ...] = COMMAND, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._command = command
        self._limit_seconds = limit_seconds
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._kept: OrderedDict[str, bytes | None] = OrderedDict()  # None: it cannot be made

    async def picture(self, job_id: str, asset: Asset) -> bytes:
        """A PNG of a job's splat.

        Raises:
            NotReady: too many wait, or it took too long.
            UnknownRoute: none can be made of that file.
        """
        if job_id not in self._kept:
            made = await self._made("picture", asset.data, job_id)
            self._kept[job_id] = made
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(job_id)
        return _there(self._kept[job_id])

    async def viewable(self, asset: Asset) -> bytes:
        """The splat as a file that viewers read: a PLY as it is, an SPZ in version 3.

        Raises:
            NotReady, UnknownRoute: as ``picture``.
        """
        if asset.format == "ply":
            return asset.data
        return _there(await self._made("view", asset.data))

    async def _made(self, what: str, data: bytes, job_id: str = "") -> bytes | None:
        if self._waiting >= MAX_WAITING:
            raise NotReady("too many pictures are asked for at once")
        self._waiting += 1
        try:
            async with self._turn:
                if job_id in self._kept:  # somebody before us in the line wanted the same
                    return self._kept[job_id]
                async with asyncio.timeout(self._limit_seconds):
                    return await self._run(what, data)
        except TimeoutError as error:
            raise NotReady("the picture took too long") from error
        finally:
            self._waiting -= 1

    async def _run(self, what: str, data: bytes) -> bytes | None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            what,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**worker_environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            made, _ = await process.communicate(data)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return made if process.returncode == 0 and made else None


def _there(made: bytes | None) -> bytes:
    if made is None:
        raise UnknownRoute("no picture can be made of that file")
    return made
