"""The few kinds of panels that the boards are made of, and how they are set out.

Every panel has a title, a description and a unit; panels come in rows of the 24-column grid, in the
order in which they are written. Ids and positions are given by ``board``, so they cannot clash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import (
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.dashboards.fields import Steps, Words, mapping, thresholds
from tools.dashboards.tables import Column, lay_out

COLUMNS = 24
SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
HERE = 'job="miner", instance=~"$instance"'
"""Of every query: the miners that were chosen."""
GPU = f'{HERE}, gpu=~"$gpu"'
OURS = f'{HERE}, identity=~"$identity"'
"""Of what belongs to one hotkey: those that were chosen."""
BY_IDENTITY = "{{instance}} {{identity}}"
REF_IDS = "ABCDEFGHIJ"

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"

Kind = Literal["stat", "lines", "stacked", "heatmap", "timeline", "table"]


@dataclass(frozen=True)
class Query:
    """One expression and what its series are called.

    Attributes:
        column: of a table, and only of one.
    """

    expr: str
    legend: str = "{{instance}}"
    column: Column | None = None


@dataclass(frozen=True)
class Panel:
    """One panel as the boards write it.

    Attributes:
        unit: one of ``grafana_foundation_sdk.models.units``; of a table, where a column has none.
        labels: of a table, those that tell its rows apart; all its queries have these and no other.
        width, height: in cells of the grid.
        low, high: ends of the scale.
        named: of a number, whether the series' name stands beside it.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "lines"
    steps: Steps = ((0, GREEN),)
    words: Words = field(default_factory=dict)
    width: int = 8
    height: int = 8
    low: float | None = 0
    high: float | None = None
    named: bool = False
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """A heading and the panels under it."""

    title: str
    panels: Sequence[Panel]


def build(panel: Panel, number: int, x: int, y: int) -> Any:
    """A builder of the panel.

    Args:
        panel: as a board writes it.
        number: its id, unique in its board.
        x: column of its left end.
        y: row of its upper end.
    """
    made = _KINDS[panel.kind]()
    made = (
        made.id(number)
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .grid_pos(models.GridPos(h=panel.height, w=panel.width, x=x, y=y))
        .thresholds(thresholds(panel.steps))
        .no_value("none")
    )
    if panel.named:
        made = made.text_mode(common.BigValueTextMode.VALUE_AND_NAME)
    if panel.kind != "heatmap":
        made = made.color_scheme(_colour(panel))
    if panel.low is not None and panel.kind in ("lines", "stacked"):
        made = made.min(panel.low)
    if panel.high is not None:
        made = made.max(panel.high)
    if panel.words:
        made = made.mappings([mapping(panel.words)])
    if panel.kind == "table":
        columns = zip(REF_IDS, (query.column for query in panel.queries), strict=False)
        made = lay_out(made, panel.labels, {name: one for name, one in columns if one})
    for name, query in zip(REF_IDS, panel.queries, strict=False):
        made = made.with_target(target(query, name, panel.kind))
    return made


def target(query: Query, name: str, kind: Kind = "lines") -> prometheus.Dataquery:
    """One query of a panel; now alone for numbers and tables, else over the board's time."""
    made = (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format("{{le}}" if kind == "heatmap" else query.legend)
        .ref_id(name)
    )
    made = made.instant() if kind == "table" else made.range()
    shape = {"table": PromQueryFormat.TABLE, "heatmap": PromQueryFormat.HEATMAP}
    return made.format(shape.get(kind, PromQueryFormat.TIME_SERIES))


def _colour(panel: Panel) -> dashboard.FieldColor:
    by_threshold = panel.kind in ("stat", "timeline", "table")
    mode = models.FieldColorModeId
    return dashboard.FieldColor().mode(mode.THRESHOLDS if by_threshold else mode.PALETTE_CLASSIC)


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs([])
    )


def _tooltip() -> common_builders.VizTooltipOptions:
    return (
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )


def _stat() -> stat.Panel:
    newest = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    return (
        stat.Panel()
        .reduce_options(newest)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.AREA)
        .justify_mode(common.BigValueJustifyMode.AUTO)
        .text_mode(common.BigValueTextMode.AUTO)
        .orientation(common.VizOrientation.AUTO)
    )


def _lines() -> timeseries.Panel:
    return (
        timeseries.Panel()
        .legend(_legend())
        .tooltip(_tooltip())
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(
                common.GraphThresholdsStyleMode.DASHED
            )
        )
    )


def _stacked() -> timeseries.Panel:
    stacking = common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
    return _lines().stacking(stacking).fill_opacity(40)


def _heatmap() -> heatmap.Panel:
    colours = (
        heatmap.HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .fill("dark-orange")
        .exponent(0.5)
        .steps(64)
        .reverse(False)
    )
    return heatmap.Panel().color(colours)


def _timeline() -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .legend(_legend())
        .tooltip(_tooltip())
        .show_value(common.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.9)
        .fill_opacity(70)
        .line_width(0)
    )


def _table() -> table.Panel:
    return table.Panel().show_header(True)


_KINDS: dict[Kind, Any] = {
    "stat": _stat,
    "lines": _lines,
    "stacked": _stacked,
    "heatmap": _heatmap,
    "timeline": _timeline,
    "table": _table,
}

SECONDS, BYTES, RATIO = units.Seconds, units.BytesIEC, units.PercentUnit
PER_SECOND, COUNT, WORD = units.CountsPerSecond, units.Short, units.NoUnit
CELSIUS, WATTS = units.Celsius, units.Watt
