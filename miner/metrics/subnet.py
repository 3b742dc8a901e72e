"""Instruments of our place in the subnet: the chain, our standing, the validators we ask."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miner.metrics.part import SCORE_BUCKETS, Part, at_least_zero, set_or_remove
from miner.readings import StandingReading

SUBMISSIONS = ("accepted", "rejected", "skipped", "unknown", "failed")
"""What may become of a result that is brought to a validator."""

VALIDATOR_READINGS = {
    "cooldown": ("cooldown_seconds", "Until a validator may be asked again."),
    "average": ("average_score", "A validator's smoothed score of our results."),
    "rating": ("duel_rating", "Our rating at a validator; 1500 for a newcomer."),
    "reward": ("reward", "What a validator makes our weight of."),
}
"""Readings of a validator by name, and the gauges that show them."""


class SubnetMetrics(Part):
    """What the chain and the validators say of us."""

    def __init__(self) -> None:
        super().__init__()
        self._chain = _ChainInstruments(self.registry)
        self._pull = _PullInstruments(self.registry)
        # From the start, so that the first of them is a step that a rate can see.
        for outcome in SUBMISSIONS:
            self._pull.submissions.labels(self._bound("submitted", outcome))

    def peers(self, count: int, age_seconds: float) -> None:
        """How many peers the snapshot holds, and how old it is."""
        self._chain.peers.set(count)
        self._chain.peers_age.set(age_seconds)

    def chain_synced(self, outcome: str, seconds: float | None) -> None:
        """An attempt to read the subnet ended; ``seconds`` it took where it came to a reading."""
        self._chain.syncs.labels(self._bound("sync", outcome)).inc()
        if seconds is not None:
            self._chain.sync_seconds.set(at_least_zero(seconds))

    def chain_published(self, what: str, outcome: str) -> None:
        """An address was written to the chain, or could not be."""
        labels = self._bound("published", what), self._bound("publication", outcome)
        self._chain.published.labels(*labels).inc()

    def standing(self, standing: StandingReading) -> None:
        """How we stand in the subnet."""
        self._chain.block.set(standing.block)
        self._chain.registered.set(standing.registered)
        self._chain.uid.set(-1 if standing.uid is None else standing.uid)
        self._chain.rank.set(-1 if standing.rank is None else standing.rank)
        self._chain.incentive.set(standing.incentive)
        self._chain.emission.set(standing.emission)
        self._chain.stake.set(standing.stake)
        self._chain.immune.set(standing.immune_blocks)

    def pulled(self, outcome: str) -> None:
        """A validator was asked for a task: "task", "again", "cooldown", "nothing" or "failed"."""
        self._pull.pulls.labels(self._bound("pulled", outcome)).inc()

    def submitted(self, outcome: str) -> None:
        """A result was brought: "accepted", "rejected", "skipped", "unknown" or "failed"."""
        self._pull.submissions.labels(self._bound("submitted", outcome)).inc()

    def judged(self, score: float) -> None:
        """A validator scored a result, 0 to 1."""
        self._pull.score.observe(at_least_zero(score))

    def validator(self, hotkey: str, readings: Mapping[str, float | None] | None) -> None:
        """How it stands with a validator, by the names of ``VALIDATOR_READINGS``; None forgets."""
        hotkey = self._bound("validator", hotkey)
        for name, gauge in self._pull.validators.items():
            set_or_remove(gauge, (hotkey,), None if readings is None else readings.get(name))


class _ChainInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.peers = gauge("miner_peers", "Hotkeys in the snapshot of the subnet.")
        self.peers_age = gauge("miner_peers_age_seconds", "Since that snapshot was taken.")
        self.syncs = counter("miner_chain_syncs", "Attempts to read the subnet.", ["outcome"])
        self.sync_seconds = gauge("miner_chain_sync_seconds", "What the last reading took.")
        self.published = counter(
            "miner_chain_publications", "Addresses written to the chain.", ["what", "outcome"]
        )
        self.block = gauge("miner_chain_block", "Of the last reading.")
        self.registered = gauge("miner_registered", "1 while our hotkey is registered.")
        self.uid = gauge("miner_uid", "Our place in the subnet; -1 without one.")
        self.rank = gauge("miner_rank", "1 for the highest incentive; -1 without a place.")
        self.incentive = gauge("miner_incentive_ratio", "Our share of the subnet's incentive.")
        self.emission = gauge("miner_emission_alpha", "What the last tempo brought us.")
        self.stake = gauge("miner_stake_alpha", "Staked to our hotkey.")
        self.immune = gauge(
            "miner_immunity_blocks", "Until a newcomer may take our place; 0 when one may."
        )


class _PullInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        self.pulls = counter("miner_pulls", "Times a validator was asked for a task.", ["outcome"])
        self.submissions = counter(
            "miner_submissions",
            "Results brought to validators, and tries that failed.",
            ["outcome"],
        )
        self.score = Histogram(
            "miner_submission_score", "Of results.", buckets=SCORE_BUCKETS, registry=registry
        )
        self.validators = {
            reading: Gauge(f"miner_validator_{name}", text, ["validator"], registry=registry)
            for reading, (name, text) in VALIDATOR_READINGS.items()
        }
