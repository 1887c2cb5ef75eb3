"""Records: rows of named fields that become a value class, one at a time or a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tq.protocol.fields import Fault, Field, read_each, shown

_BATCH_ROWS_MIN = 8
"""From about so many rows on, columns are faster than rows."""


class Record:
    """A row that becomes one `kind`, a NamedTuple (or plain tuple) of exactly these fields, in this order.

    Fields at the end that have a default may be missing; fields beyond the known ones are ignored. Together they
    let either side be older than the other.
    """

    def __init__(self, kind: type[tuple[Any, ...]], **fields: Field) -> None:
        self.kind = kind
        self.names = tuple(fields)
        self.fields = tuple(fields.values())
        defaults: dict[str, object] = getattr(kind, "_field_defaults", {})
        self._reads = tuple(field.read for field in fields.values())
        self.width = len(fields)
        self.width_min = self.width - len(defaults)
        self.defaults = tuple(defaults.values())
        self.tails = tuple(self.defaults[max(0, n - self.width_min) :] for n in range(self.width + 1))
        """tails[n]: what completes a row of n fields."""

    def read(self, row: object) -> tuple[Any, ...]:
        """One value of `kind`; raises Fault."""
        if not isinstance(row, (tuple, list)) or len(row) < self.width_min:
            raise self._no_row(row)
        done: list[object] = []
        try:
            for read, value in zip(self._reads, row):  # noqa: B905  either may be longer; the keyword costs 5 %
                done.append(read(value))
        except Fault as fault:
            raise fault.inside(f".{self.names[len(done)]}") from None
        done += self.tails[len(done)]
        return tuple.__new__(self.kind, done)

    def read_column(self, column: Sequence[object]) -> Sequence[tuple[Any, ...]]:
        """Many values of `kind`, in order; raises Fault with the row's place."""
        if len(column) < _BATCH_ROWS_MIN or not set(map(type, column)) <= {tuple, self.kind}:
            return read_each(self, column)  # type: ignore[return-value]  # what read() gives
        rows: Sequence[tuple[object, ...]] = column  # type: ignore[assignment]  # just checked
        widths = set(map(len, rows))
        if min(widths) < self.width_min:
            return read_each(self, column)  # type: ignore[return-value]  # raises
        width = min(max(widths), self.width)
        if len(widths) > 1 or width not in widths:
            rows = [(row + self.tails[min(len(row), self.width)])[:width] for row in rows]
        columns = list(zip(*rows, strict=True))
        checked = self._read_columns(columns)
        if any(new is not old for new, old in zip(checked, columns, strict=True)):
            rows = list(zip(*checked, strict=True))
        kind, tail, make = self.kind, self.tails[width], tuple.__new__
        return [make(kind, row + tail) for row in rows]

    def parts(self, value: object) -> Iterator[tuple[str, Field, object]]:
        if isinstance(value, (tuple, list)) and len(value) >= self.width_min:
            for name, field, held in zip(self.names, self.fields, value, strict=False):
                yield f".{name}", field, held

    def _read_columns(self, columns: list[tuple[object, ...]]) -> list[Sequence[object]]:
        done: list[Sequence[object]] = []
        try:
            for field, column in zip(self.fields, columns, strict=False):
                done.append(field.read_column(column))
        except Fault as fault:
            raise fault.inside(f".{self.names[len(done)]}") from None
        return done

    def _no_row(self, row: object) -> Fault:
        if not isinstance(row, (tuple, list)):
            return Fault(f"{shown(row)} is not a list of fields")
        names = ", ".join(self.names[: self.width_min])
        return Fault(f"{len(row)} fields; at least {self.width_min} ({names})")


class Ruled:
    """A record whose fields must also fit together. rule: raises Fault when they do not.

    given: the rule is about values that have this field, and the others do not pay for it.
    """

    def __init__(self, record: Record, rule: Callable[[tuple[Any, ...]], None], *, given: str) -> None:
        self._record, self._rule = record, rule
        self._place = record.names.index(given)

    def read(self, row: object) -> tuple[Any, ...]:
        value = self._record.read(row)
        if value[self._place]:
            self._rule(value)
        return value

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        values = self._record.read_column(column)
        row = 0
        try:
            for row, value in enumerate(values):  # noqa: B007  the fault below wants it
                if value[self._place]:
                    self._rule(value)
        except Fault as fault:
            fault.row = row
            raise
        return values

    def parts(self, value: object) -> Iterator[tuple[str, Field, object]]:
        return self._record.parts(value)
