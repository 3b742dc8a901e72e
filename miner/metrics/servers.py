"""Instruments of our HTTP servers."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miner.metrics.part import Part, at_least_zero

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120)
"""Seconds. Refusals take milliseconds; an answer that waits for its job takes as long as that."""


class ServerMetrics(Part):
    """Requests and connections, taken and turned away."""

    def __init__(self) -> None:
        super().__init__()
        self._http = _HttpInstruments(self.registry)

    def request(self, server: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route`` is the pattern that matched, never the path."""
        server, route = self._bound("server", server), self._bound("route", route)
        self._http.requests.labels(server, route, self._bound("status", status)).inc()
        self._http.duration.labels(server, route).observe(at_least_zero(seconds))

    def connection_refused(self, server: str, reason: str) -> None:
        """A connection was closed for one of the limits."""
        labels = self._bound("server", server), self._bound("refused_connection", reason)
        self._http.refused.labels(*labels).inc()

    def malformed(self, server: str, kind: str) -> None:
        """What came was not HTTP as it should be."""
        labels = self._bound("server", server), self._bound("malformed", kind)
        self._http.malformed.labels(*labels).inc()

    def connections(self, server: str, open: int) -> None:
        """So many connections are open."""
        self._http.open.labels(self._bound("server", server)).set(open)


class _HttpInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = counter(
            "miner_http_requests", "Requests answered.", ["server", "route", "status"]
        )
        self.duration = histogram(
            "miner_http_request_duration_seconds",
            "From a request's header to the end of its answer.",
            ["server", "route"],
            buckets=REQUEST_BUCKETS,
        )
        self.refused = counter(
            "miner_connections_refused", "Connections closed for a limit.", ["server", "reason"]
        )
        self.malformed = counter(
            "miner_malformed_requests", "Requests that were not good HTTP.", ["server", "kind"]
        )
        self.open = gauge("miner_open_connections", "Connections open.", ["server"])
