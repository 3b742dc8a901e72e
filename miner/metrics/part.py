"""What all parts of the metrics share: the registry, bounded labels, values that cannot harm."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

MAX_VALUES = 64
"""Of one label of one instrument: above the routes, error codes and devices there really are."""

MAX_LABEL_CHARACTERS = 64

SCORE_BUCKETS = (0.0, 0.3, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
"""Dense around the threshold of acceptance, 0.6."""


class Bounds:
    """Keeps the values of labels few. Its one piece of state only grows, to a bound."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def __call__(self, label: str, value: object) -> str:
        """The value where it is one of the first, else "other"."""
        text = str(value)[:MAX_LABEL_CHARACTERS]
        text = text.encode("utf-8", "replace").decode()  # lone surrogates would break the page
        seen = self._seen.setdefault(label, set())
        if text in seen:
            return text
        if len(seen) >= MAX_VALUES:
            return "other"
        seen.add(text)
        return text


class Part:
    """One registry and one memory of labels for all parts; each adds its own instruments."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._bound = Bounds()


def set_or_remove(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    """Sets the gauge; a reading that is no longer there takes its series away."""
    if value is not None:
        gauge.labels(*labels).set(value)
    else:
        gauge.remove(*labels)


def at_least_zero(value: float) -> float:
    """Also for a clock that was set back or a NaN: a sum must never fall."""
    return value if value > 0 else 0.0


def total_of(counter: Counter) -> float:
    """A counter, summed over its labels."""
    samples = (sample for family in counter.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))
