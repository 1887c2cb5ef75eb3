"""Layouts painted with Rich. Texts are shown as they are: never as markup, links or escape codes."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tq.admin.layout import Cell, Facts, Grid, Part, View, Word
from tq.admin.words import plain, plain_lines


def painted(view: View) -> RenderableType:
    """The parts below each other, a blank line between them."""
    parts: list[RenderableType] = []
    for position, part in enumerate(view):
        parts += [Text(), _part(part)] if position else [_part(part)]
    return Group(*parts)


def _part(part: Part) -> RenderableType:
    if isinstance(part, Facts):
        return _facts(part)
    if isinstance(part, Grid):
        return _grid(part)
    if isinstance(part, Word):
        return _text(part)
    body = Text(plain_lines(part.text), overflow="fold")
    return Group(Text(part.heading, style="bold"), body) if part.heading else body


def _facts(part: Facts) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in part.facts:
        if value:
            table.add_row(name, _text(value))
    return table


def _grid(part: Grid) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, head in enumerate(part.heads):
        side = "right" if head.startswith(">") else "left"
        table.add_column(head.lstrip(">"), justify=side, no_wrap=position == 0)  # type: ignore[arg-type]
    for row in part.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _text(cell: Cell) -> Text:
    return Text(plain(cell.text), style=cell.style) if isinstance(cell, Word) else Text(plain(cell))
