"""The external address: what enough services agree on, and nothing less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from miner.errors import ChainError
from miner.metrics import Metrics
from miner.network.external_address import external_address
from miner.network.server import serve
from miner.settings import ListenLimits


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    """Answers ``/TEXT`` with that text, ``/status/N`` with that status, ``/never`` never."""

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix("/")
        if path == "never":
            await asyncio.Event().wait()
        if path == "long":
            return web.Response(text="8" * 100_000)
        if path.startswith("status/"):
            return web.Response(status=int(path.removeprefix("status/")), text="8.8.8.8")
        return web.Response(text=f"{path}\n")

    async with serve(
        page, name="x", host="127.0.0.1", port=0, limits=ListenLimits(), metrics=Metrics()
    ) as listening:
        yield listening.url


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (["8.8.8.8", "8.8.8.8"], "8.8.8.8"),
        (["8.8.4.4", "8.8.8.8", "8.8.8.8"], "8.8.8.8"),
        (["2001:4860:4860:0::8888", "2001:4860:4860::8888"], "2001:4860:4860::8888"),
        (["8.8.8.8", "status/500", "long", "8.8.8.8"], "8.8.8.8"),
        (["8.8.8.8"], None),
        (["8.8.8.8", "8.8.4.4"], None),
        (["192.168.1.1", "192.168.1.1"], None),
        (["status/404", "status/302", "status/500"], None),
        (["<html>", "long", "%FF%FE"], None),
    ],
)
async def test_two_services_have_to_agree(answers: list[str], found: str | None) -> None:
    """One liar, a failure or a private address decides nothing; no agreement is an error."""
    async with service() as url:
        urls = [f"{url}/{answer}" for answer in answers]
        if found is None:
            with pytest.raises(ChainError, match=r"set axon\.external_ip"):
                await external_address(urls)
        else:
            assert await external_address(urls) == found


async def test_services_that_do_not_answer_are_not_waited_for() -> None:
    """Silent and absent services cost no more than the limit, and the others decide."""
    async with service() as url:
        urls = [f"{url}/8.8.8.8", f"{url}/8.8.8.8", f"{url}/never", "http://127.0.0.1:1/"]

        assert await external_address(urls, limit_seconds=5.0) == "8.8.8.8"
