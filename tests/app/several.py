"""A real daemon with several identities, and a validator that calls each of them."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from miner.admission.signature import write_hotkey
from miner.network.dendrite import Dendrite
from miner.network.synapse import SynapseT
from tests.app.running import VALIDATOR, Running


class Several(Running):
    """A daemon of identities.

    Attributes:
        hotkeys: of each, by its name.

    Args:
        tables: TOML for each identity's table beside its key, by its name.
    """

    def __init__(
        self, folder: Path, tables: Mapping[str, str], engine: str = "Quick", **sections: Any
    ) -> None:
        super().__init__(folder, engine, **sections)
        self.hotkeys: dict[str, str] = {}
        self._base = self.settings.read_text()
        for name in tables:
            self.hotkeys[name] = write_hotkey(folder / f"key-{name}").ss58_address
        self.write(tables)

    def write(self, tables: Mapping[str, str]) -> None:
        """Settings with these tables."""
        text = self._base
        for name, more in tables.items():
            key = json.dumps(str(self.folder / f"key-{name}"))
            text += f'\n[[identity]]\nname = "{name}"\nwallet.hotkey_file = {key}\n{more}\n'
        self.settings.write_text(text)

    def identity(self, name: str) -> dict[str, Any]:
        """What the status says of one; empty while nobody answers."""
        known = self.status().get("identities", [])
        return next((one for one in known if one["name"] == name), {})

    def server(self, name: str) -> str:
        """Of an identity's axon, as a dendrite wants it."""
        return str(self.status()["addresses"][f"axon/{name}"]).removeprefix("http://")

    def page(self) -> str:
        """All metrics."""
        with urlopen(f"{self.status()['addresses']['metrics']}/metrics", timeout=10) as reply:
            return str(reply.read().decode())

    async def call(self, dendrite: Dendrite, name: str, synapse: SynapseT) -> SynapseT:
        """Sends an identity a synapse."""
        return await dendrite.call(self.server(name), self.hotkeys[name], synapse, 60.0)


@contextlib.asynccontextmanager
async def several(
    folder: Path, tables: Mapping[str, str], engine: str = "Quick", **sections: Any
) -> AsyncIterator[tuple[Several, Dendrite]]:
    """A daemon that is ready, and a validator's client; killed at the end if it still runs."""
    running = Several(folder, tables, engine, **sections)
    await running.start()
    try:
        async with Dendrite(VALIDATOR) as dendrite:
            yield running, dendrite
    finally:
        if running.process is not None and running.process.returncode is None:
            await running.end(signal.SIGKILL)
