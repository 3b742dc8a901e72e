"""Stage times of the preset ``mini``: loading, and each stage of a warm prompt.

python -m tests.benchmarks.bench_mini
"""

from __future__ import annotations

import statistics
import time

from miner.pipeline.pipeline import Pipeline
from miner.settings import load_settings

PROMPTS = (
    "a red cube",
    "a wooden chair",
    "a blue car",
    "a white mushroom with a red cap",
    "a green tree",
)
LOAD_TARGET_SECONDS = 10.0
PROMPT_TARGET_SECONDS = 2.5


def main() -> None:
    """Prints the table."""
    settings = load_settings("mini", environ={})
    start = time.perf_counter()
    pipeline = Pipeline.load(settings.preset, settings.weights, settings.device)
    loaded = time.perf_counter() - start
    pipeline.warm_up()
    runs = [pipeline.generate(prompt, seed=seed).timings for seed, prompt in enumerate(PROMPTS)]

    print(f"{'load':<16}{loaded:>8.2f} s   target {LOAD_TARGET_SECONDS} s, imports not included")
    for name in runs[0]:
        print(f"{name:<16}{statistics.median(run[name] for run in runs):>8.3f} s")
    whole = statistics.median(sum(run.values()) for run in runs)
    print(
        f"{'a prompt':<16}{whole:>8.3f} s   target {PROMPT_TARGET_SECONDS} s, median of {len(runs)}"
    )


if __name__ == "__main__":
    main()
