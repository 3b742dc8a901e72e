"""A daemon on the embedded preset under light load, and a Prometheus that watches it.

Needs the program ``prometheus`` on the path; Ctrl-C ends everything. A Grafana of yours that is
pointed to the address shown has data for all five boards: what this machine has not comes from a
second target, the exhibit.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from miner.admission.signature import new_hotkey
from miner.commands.demo_miner import running, write_settings
from miner.errors import ControlError
from tools.observe import prometheus
from tools.observe.exhibit import exhibit
from tools.observe.load import wave

PORT = 9090
PAUSE_SECONDS = 3.0
LIMIT_SECONDS = 60.0


def main() -> int:
    """Runs until Ctrl-C; exit status 1 where something does not start."""
    try:
        _watch()
    except KeyboardInterrupt:
        print("ended")
    except (ControlError, FileNotFoundError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _watch() -> None:
    validator = new_hotkey()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="miner-observe-")))
        settings, hotkey = write_settings(folder, [(validator, 5000.0)])
        print("starting a daemon on the embedded preset", flush=True)
        miner = stack.enter_context(running(settings, hotkey, folder / "daemon.log"))
        other = stack.enter_context(exhibit())
        page = miner.addresses["metrics"].removeprefix("http://")
        found = stack.enter_context(prometheus.running(folder, [page, other.address], PORT))
        print(f"daemon:     http://{page}/metrics\nexhibit:    http://{other.address}/metrics")
        print(f"prometheus: {found.address}/alerts and {found.address}/graph")
        print("Ctrl-C ends it", flush=True)
        while True:
            other.move()
            asyncio.run(wave(miner, validator, 2, LIMIT_SECONDS))
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
