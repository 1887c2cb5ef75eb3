"""What a table shows, as plain data: made without Rich, painted with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias


class Word(NamedTuple):
    """A text in a colour (a Rich style); on terminals only."""

    text: str
    style: str = ""


Cell: TypeAlias = str | Word


class Facts(NamedTuple):
    """Name and value, one a line; those without a value are left out."""

    facts: Sequence[tuple[str, Cell]]


class Grid(NamedTuple):
    """Rows under heads. A head that begins with `>` aligns its column to the right. The first column is never cut."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Lines(NamedTuple):
    """Text as it is, under a heading when there is one."""

    text: str
    heading: str = ""


Part: TypeAlias = Facts | Grid | Lines | Word
View: TypeAlias = Sequence[Part]
"""Parts from top to bottom, a blank line between them."""
