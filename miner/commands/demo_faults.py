"""A daemon whose generators can be made to fail, for a demonstration; nothing else runs it.

    python -m miner.commands.demo_faults --config miner.toml

While a file ``broken-NAME`` lies in the folder in which this daemon was started, its generator of
that name fails at once. The daemon of ``miner run`` has no such switch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miner.errors import MinerError, StageError
from miner.workers.engine import PipelineEngine

if TYPE_CHECKING:
    from miner.pipeline.generator import Call, Generator, Lifted, Subject

ENGINE = "miner.commands.demo_faults:BreakableEngine"


def switch(folder: Path, generator: str) -> Path:
    """The file that makes a generator fail while it is there."""
    return folder / f"broken-{generator}"


class BreakableEngine(PipelineEngine):
    """The engine of the service, its generators within reach of the switch."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        """As the engine's own, which raises what this raises."""
        seconds = super().load(configuration)
        for name in self.generators:
            self._loaded.generators.put_around(name, Breakable)
        return seconds


class Breakable:
    """A generator that fails while the switch is on."""

    def __init__(self, name: str, inner: Generator) -> None:
        self._switch = switch(Path.cwd(), name)
        self._inner = inner

    def generate(self, subject: Subject, call: Call) -> Lifted:
        """As the generator's own.

        Raises:
            StageError: the switch is on.
        """
        if self._switch.exists():
            raise StageError("reconstruct", "made to fail by the demonstration")
        return self._inner.generate(subject, call)

    def park(self) -> None:
        """As the generator's own."""
        self._inner.park()

    def wake(self) -> None:
        """As the generator's own."""
        self._inner.wake()


def main() -> int:
    """Runs the daemon; its exit status."""
    import uvloop

    from miner.app.daemon import Daemon
    from miner.settings import load

    parser = argparse.ArgumentParser(prog="miner.commands.demo_faults")
    parser.add_argument("--config", type=Path, required=True)
    config = parser.parse_args().config

    async def live() -> None:
        await Daemon(load(config=config), lambda: load(config=config), ENGINE).run()

    try:
        uvloop.run(live())
    except MinerError as error:
        print(f"miner: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
