"""``miner run`` on a chain in a file: ``python -m tests.fakes.chain_daemon ENGINE --config FILE``.

The folder of the settings holds ``chain.json``, the metagraph as the runtime would answer it; a
test changes it while the daemon runs. What is published goes back into that file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bittensor as bt
import uvloop

from miner.app.daemon import Daemon
from miner.settings import load
from tests.network.fake_chain import FakeSubstrate


class FileChain(FakeSubstrate):
    """Answers from the file; takes ``serve_axon`` into it; refuses while the file says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(answer=self._read, reading=self._fail)
        self._path = path

    def _read(self) -> Any:
        return json.loads(self._path.read_text(encoding="utf-8"))

    def _fail(self) -> None:
        if "error" in self._read():
            raise bt.RpcConnectionError(self._read()["error"])

    async def submit(self, call: Any, keypair: Any, **others: Any) -> bt.ExtrinsicResult:
        answer = self._read()
        row = answer["hotkeys"].index(keypair.ss58_address)
        answer["axons"][row] = {**call.params, "block": answer["block"]}
        self._path.write_text(json.dumps(answer), encoding="utf-8")
        return await super().submit(call, keypair, **others)


def main() -> None:
    """Runs the daemon."""
    engine, config = sys.argv[1], Path(sys.argv[3])

    def substrate() -> FileChain:
        return FileChain(config.parent / "chain.json")

    async def live() -> None:
        daemon = Daemon(load(config=config), lambda: load(config=config), engine, substrate)
        await daemon.run()

    uvloop.run(live())


if __name__ == "__main__":
    main()
