"""What the panels of ``miner top`` are made of: colours, tables, frames."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table

WIDE_COLUMNS = 110
"""From here on two panels stand beside each other."""
MEDIUM_COLUMNS = 78
"""Below, columns that can be missed are left out."""
LABEL_CELLS, NAME_CELLS = 8, 12

GOOD, WARN, BAD, DIM = "green", "yellow", "bold red", "dim"


def pairs() -> Table:
    """A grid of names and what they are."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style=DIM, no_wrap=True, min_width=LABEL_CELLS)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    return grid


def table() -> Table:
    """A table without lines, as wide as there is room."""
    return Table(box=None, padding=(0, 1), expand=True, header_style=DIM, pad_edge=False)


def panel(title: str, inside: RenderableType) -> Panel:
    """Something in a frame with a title."""
    return Panel(inside, title=title, title_align="left", box=box.ROUNDED, border_style=DIM)
