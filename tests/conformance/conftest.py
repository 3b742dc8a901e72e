"""One official client and one official server of each release, started when first asked for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.environments import Unavailable
from tests.conformance.our_miner import DENIED, MINER, Miner, hotkey_of, our_miner
from tests.conformance.peers import OfficialClient, OfficialServer, Peer


class Officials:
    """The peers of a test run by kind and release."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Peer] = {}
        self._unavailable: dict[str, str] = {}

    def client(self, version: str) -> OfficialClient:
        """The client of a release; the test is skipped where it cannot be had."""
        log = self._folder / f"client-{version}.log"
        peer = self._get(version, f"client {version}", lambda: OfficialClient(version, log))
        assert isinstance(peer, OfficialClient)
        return peer

    def server(self, version: str) -> OfficialServer:
        """The server of a release, which refuses the denied hotkey."""
        log = self._folder / f"server-{version}.log"
        peer = self._get(
            version,
            f"server {version}",
            lambda: OfficialServer(version, log, MINER, hotkey_of(DENIED)),
        )
        assert isinstance(peer, OfficialServer)
        return peer

    def _get(self, version: str, name: str, start: Callable[[], Peer]) -> Peer:
        if version not in self._unavailable and name not in self._running:
            try:
                self._running[name] = start()
            except Unavailable as error:
                self._unavailable[version] = str(error)
        if version in self._unavailable:
            _give_up(self._unavailable[version])
        return self._running[name]

    def close(self) -> None:
        """Ends them all."""
        for peer in self._running.values():
            peer.close()


def _give_up(reason: str) -> None:
    """Skips on a developer's machine without the internet; fails where nobody would notice."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def officials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Officials]:
    """The official peers of this run."""
    peers = Officials(tmp_path_factory.mktemp("peers"))
    yield peers
    peers.close()


@pytest.fixture
async def ours() -> AsyncIterator[Miner]:
    """Our server, listening."""
    async with our_miner() as miner:
        yield miner
