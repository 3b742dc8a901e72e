"""Our axon as a process of the benchmark: true checks and codec, a stub in place of the queue.

    python -m tests.benchmarks.axon_ours

Prints a line of JSON when it listens and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from miner.settings.admission import AdmissionSettings
from tests.conformance.our_miner import our_miner

NO_RATES = AdmissionSettings(
    requests_per_second_per_hotkey=1e9,
    burst_per_hotkey=10**9,
    requests_per_second_per_address=1e9,
    burst_per_address=10**9,
)
"""One hotkey from one address is all of a benchmark's load; the buckets are still asked."""


async def serve() -> None:
    """Serves until stdin ends."""
    async with our_miner(NO_RATES) as miner:
        print(json.dumps({"port": miner.port, "hotkey": miner.hotkey}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
