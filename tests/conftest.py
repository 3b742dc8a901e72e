"""For all tests: threads sleep while they wait, as under the command line."""

from __future__ import annotations

from miner.settings import let_idle_threads_sleep

let_idle_threads_sleep()  # before any test module loads torch
