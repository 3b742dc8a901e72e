"""A table of several queries: a row for each of their labels' values, a column for each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.models import dashboard as models

from tools.dashboards.fields import Steps, Words, mapping, thresholds


@dataclass(frozen=True)
class Column:
    """How the values of one query stand in a table."""

    title: str
    unit: str
    steps: Steps = ()
    words: Words = field(default_factory=dict)


def lay_out(made: Any, labels: Sequence[str], columns: Mapping[str, Column]) -> Any:
    """The panel with its queries joined into rows, and its columns named and in order.

    Args:
        made: builder of the panel.
        labels: those that tell the rows apart; every query has these and no other.
        columns: by the letter of the query.
    """
    values = {f"Value #{letter}": column.title for letter, column in columns.items()}
    order = {name: place for place, name in enumerate((*labels, *values))}
    named = {**{label: label.capitalize() for label in labels}, **values}
    organized = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": named}
    made = made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    made = made.with_transformation(
        models.DataTransformerConfig(id_val="organize", options=organized)
    )
    for column in columns.values():
        made = made.override_by_name(column.title, _look(column))
    return made


def _look(column: Column) -> list[models.DynamicConfigValue]:
    found = [models.DynamicConfigValue("unit", column.unit)]
    if column.steps:
        found.append(models.DynamicConfigValue("thresholds", thresholds(column.steps).build()))
    if column.words:
        found.append(models.DynamicConfigValue("mappings", [mapping(column.words)]))
    if column.steps or column.words:
        coloured = {"type": "color-text"}
        found.append(models.DynamicConfigValue("custom.cellOptions", coloured))
    return found
