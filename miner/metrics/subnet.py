"""Instruments of our places in subnets, one for each identity: chain, standing, who we work for."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miner.metrics.part import SCORE_BUCKETS, Bounds, Part, at_least_zero, set_or_remove
from miner.metrics.servers import ServerMetrics
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
    """The instruments; each identity has its own view of them."""

    def __init__(self) -> None:
        super().__init__()
        self._subnet = _SubnetInstruments(self.registry)


class IdentityMetrics:
    """What one of our hotkeys does, and what the chain and the validators say of it.

    Args:
        identity: its name, bounded; the label ``identity`` of all that is counted here.
        servers: where the requests to its axon are counted.
    """

    def __init__(
        self,
        identity: str,
        instruments: _SubnetInstruments,
        bound: Bounds,
        servers: ServerMetrics,
    ) -> None:
        self._identity = identity
        self._subnet = instruments
        self._bound = bound
        self._servers = servers
        # From the start, so that the first of them is a step that a rate can see.
        instruments.failures.labels(identity)
        for outcome in SUBMISSIONS:
            self._subnet.submissions.labels(identity, bound("submitted", outcome))

    # Requests to us

    def request(self, server: str, route: str, status: int, seconds: float) -> None:
        """As ``ServerMetrics.request``."""
        self._servers.request(server, route, status, seconds)

    def rejected(self, code: str) -> None:
        """Admission turned a request away; ``code`` is the error's."""
        self._subnet.rejected.labels(self._identity, self._bound("rejected", code)).inc()

    # How it is

    def now(self, ready: bool, waiting: int) -> None:
        """Whether it takes new work, and how many of its jobs wait."""
        self._subnet.ready.labels(self._identity).set(ready)
        self._subnet.waiting.labels(self._identity).set(waiting)

    def failed(self) -> None:
        """Something of it broke; it is begun anew while the others go on."""
        self._subnet.failures.labels(self._identity).inc()

    # The chain

    def peers(self, count: int, age_seconds: float) -> None:
        """How many peers the snapshot holds, and how old it is."""
        self._subnet.peers.labels(self._identity).set(count)
        self._subnet.peers_age.labels(self._identity).set(age_seconds)

    def chain_synced(self, outcome: str, seconds: float | None) -> None:
        """An attempt to read the subnet ended; ``seconds`` it took where it came to a reading."""
        self._subnet.syncs.labels(self._identity, self._bound("sync", outcome)).inc()
        if seconds is not None:
            self._subnet.sync_seconds.labels(self._identity).set(at_least_zero(seconds))

    def chain_published(self, what: str, outcome: str) -> None:
        """An address was written to the chain, or could not be."""
        labels = self._bound("published", what), self._bound("publication", outcome)
        self._subnet.published.labels(self._identity, *labels).inc()

    def standing(self, standing: StandingReading) -> None:
        """How we stand in the subnet."""
        readings = {
            "block": standing.block,
            "registered": standing.registered,
            "uid": -1 if standing.uid is None else standing.uid,
            "rank": -1 if standing.rank is None else standing.rank,
            "incentive": standing.incentive,
            "emission": standing.emission,
            "stake": standing.stake,
            "immune": standing.immune_blocks,
        }
        for name, value in readings.items():
            self._subnet.standing[name].labels(self._identity).set(value)

    # Validators and gateways

    def pulled(self, outcome: str) -> None:
        """A validator was asked for a task: "task", "again", "cooldown", "nothing" or "failed"."""
        self._subnet.pulls.labels(self._identity, self._bound("pulled", outcome)).inc()

    def submitted(self, outcome: str) -> None:
        """A result was brought: "accepted", "rejected", "skipped", "unknown" or "failed"."""
        self._subnet.submissions.labels(self._identity, self._bound("submitted", outcome)).inc()

    def judged(self, score: float) -> None:
        """A validator scored a result, 0 to 1."""
        self._subnet.score.labels(self._identity).observe(at_least_zero(score))

    def validator(self, hotkey: str, readings: Mapping[str, float | None] | None) -> None:
        """How it stands with a validator, by the names of ``VALIDATOR_READINGS``; None forgets."""
        labels = self._identity, self._bound("validator", hotkey)
        for name, gauge in self._subnet.validators.items():
            set_or_remove(gauge, labels, None if readings is None else readings.get(name))

    def gateway_call(self, call: str, outcome: str) -> None:
        """A gateway was asked for work, or what became of a task was brought to it.

        Args:
            call: "get_tasks" or "add_result".
            outcome: "tasks" or "nothing"; "success" or "failure" of what was brought, "expired"
                where nobody waited any more; else the error's code.
        """
        labels = self._bound("gateway_call", call), self._bound("gateway", outcome)
        self._subnet.gateway.labels(self._identity, *labels).inc()


STANDING = {
    "block": ("chain_block", "Of the last reading."),
    "registered": ("registered", "1 while our hotkey is registered."),
    "uid": ("uid", "Our place in the subnet; -1 without one."),
    "rank": ("rank", "1 for the highest incentive; -1 without a place."),
    "incentive": ("incentive_ratio", "Our share of the subnet's incentive."),
    "emission": ("emission_alpha", "What the last tempo brought us."),
    "stake": ("stake_alpha", "Staked to our hotkey."),
    "immune": ("immunity_blocks", "Until a newcomer may take our place; 0 when one may."),
}
"""How we stand, by name, and the gauges that show it."""


class _SubnetInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"miner_{name}", text, ["identity", *labels], registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"miner_{name}", text, ["identity", *labels], registry=registry)

        self.ready = gauge("identity_ready", "1 while an identity takes new work.")
        self.waiting = gauge("identity_queue_depth", "Jobs of an identity that wait.")
        self.failures = counter("identity_failures", "Times an identity broke and began anew.")
        self.rejected = counter("requests_rejected", "Requests that admission turned away.", "code")
        self.peers = gauge("peers", "Hotkeys in the snapshot of the subnet.")
        self.peers_age = gauge("peers_age_seconds", "Since that snapshot was taken.")
        self.syncs = counter("chain_syncs", "Attempts to read the subnet.", "outcome")
        self.sync_seconds = gauge("chain_sync_seconds", "What the last reading took.")
        self.published = counter(
            "chain_publications", "Addresses written to the chain.", "what", "outcome"
        )
        self.standing = {reading: gauge(name, text) for reading, (name, text) in STANDING.items()}
        self.pulls = counter("pulls", "Times a validator was asked for a task.", "outcome")
        self.submissions = counter(
            "submissions", "Results brought to validators, and tries that failed.", "outcome"
        )
        self.score = Histogram(
            "miner_submission_score",
            "Of results.",
            ["identity"],
            buckets=SCORE_BUCKETS,
            registry=registry,
        )
        self.validators = {
            reading: gauge(f"validator_{name}", text, "validator")
            for reading, (name, text) in VALIDATOR_READINGS.items()
        }
        self.gateway = counter(
            "gateway_calls", "Calls to gateways, by what came of them.", "call", "outcome"
        )
