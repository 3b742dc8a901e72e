"""Puts a board together: variables, annotations, links, and panels on the grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from tools.dashboards.pieces import COLUMNS, HERE, SOURCE, Query, Row, build, target

TAG = "splat-miner"

ANNOTATIONS = (
    ("Rolled back", "orange", f'miner_rollback_state{{{HERE}, state="open"}} == 1', "instance"),
    (
        "Daemon started",
        "blue",
        f"changes(process_start_time_seconds{{{HERE}}}[1m]) > 0",
        "instance",
    ),
    (
        "Worker restarted",
        "red",
        f"sum by (instance, worker, reason) (increase(miner_worker_restarts_total{{{HERE}}}[1m]))"
        " > 0",
        "instance,worker,reason",
    ),
)
"""Name, colour, query, and the labels shown. A rollback is a region as long as it lasts."""


@dataclass(frozen=True)
class Board:
    """One dashboard as its file describes it.

    Attributes:
        uid: fixed, since links and bookmarks hold it.
        gpus: whether it has a variable for the GPU.
        identities: whether it has one for our hotkeys.
    """

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    gpus: bool = False
    identities: bool = False


def render(board: Board) -> str:
    """The board as the JSON that Grafana imports, with sorted keys."""
    return json.dumps(plain(_dashboard(board).build()), indent=1, sort_keys=True) + "\n"


def plain(built: models.Dashboard) -> dict[str, Any]:
    """The board as values of JSON, without the fields of other kinds of variables."""
    found: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    for variable in found["templating"]["list"]:
        for name in ("auto", "auto_min", "auto_count"):
            variable.pop(name, None)
    return found


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .version(1)
        .link(_links())
    )
    for variable in _variables(board):
        made = made.with_variable(variable)
    for name, colour, expr, tags in ANNOTATIONS:
        made = made.annotation(_annotation(name, colour, expr, tags))
    return _place(made, board.rows)


def _place(made: dashboard.Dashboard, rows: Sequence[Row]) -> dashboard.Dashboard:
    """Rows from above, panels from the left; a panel that has no room begins a new line."""
    number, top = 1, 0
    for row in rows:
        place = models.GridPos(h=1, w=COLUMNS, x=0, y=top)
        made = made.with_row(dashboard.Row(row.title).id(number).grid_pos(place))
        number, top, left, height = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            made = made.with_panel(build(panel, number, left, top))
            number, left, height = number + 1, left + panel.width, max(height, panel.height)
        top += height
    return made


def _variables(board: Board) -> list[Any]:
    found: list[Any] = [
        dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        _variable("instance", "Miner", 'label_values(miner_ready{job="miner"}, instance)'),
    ]
    if board.identities:
        query = f"label_values(miner_identity_ready{{{HERE}}}, identity)"
        found.append(_variable("identity", "Identity", query))
    if board.gpus:
        query = f"label_values(miner_gpu_memory_total_bytes{{{HERE}}}, gpu)"
        found.append(_variable("gpu", "GPU", query))
    return found


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _annotation(name: str, colour: str, expr: str, tags: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(colour)
        .title_format(name)
        .tag_keys(tags)
        .target(target(Query(expr), "Anno"))
    )


def _links() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Boards of the miner")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
        .as_dropdown(False)
        .icon("dashboard")
        .tooltip("The other boards, for the same miners and the same time")
        .url("")
        .target_blank(False)
    )
