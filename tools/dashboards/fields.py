"""How values look, of a panel or of one column of a table: thresholds, and words for numbers."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

Steps = Sequence[tuple[float, str]]
"""Thresholds from low to high: (from, colour); the first begins at no value at all."""

Words = dict[str, tuple[str, str]]
"""What numbers are shown as: {value: (word, colour)}."""


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """A builder of them."""
    (_, first), *others = steps
    found = [models.Threshold(value=None, color=first)]
    found += [models.Threshold(value=float(value), color=colour) for value, colour in others]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def mapping(words: Words) -> models.ValueMap:
    """The words as Grafana has them."""
    options = {
        value: models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(words.items())
    }
    return models.ValueMap(options=options)
