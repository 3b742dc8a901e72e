"""The program with a flaw: SIGUSR1 has its main thread, and so its event loop, wait for minutes."""

from __future__ import annotations

import signal
import sys
import time

from miner.cli import main


def hang(_number: int, _frame: object) -> None:
    time.sleep(600)


signal.signal(signal.SIGUSR1, hang)
sys.exit(main())
