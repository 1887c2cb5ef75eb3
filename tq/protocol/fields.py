"""Kinds of field: each reads one value that came from outside, or a whole column of them, or says what is wrong.

A record (`records.py`) is a row of fields. A batch is checked column by column, because one `set(map(type, column))`
and one `min` or `max` run in C over a thousand values and cost a quarter of a call per value. So every kind has

    read(value)          the value, checked and built; raises Fault
    read_column(column)  the same for many; gives the column itself back when all of it is right as it stands

The quick look at a column may say yes only when `read` would return every value unchanged. When it says no, the
values are read one by one, which finds the one at fault and its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from tq.errors import BadRequest, PayloadTooLarge, TqError
from tq.ids import ID_BYTES
from tq.protocol.limits import INT_MAX, METADATA_ITEMS_MAX
from tq.task import METADATA_BYTES_MAX

_NOT_IN_LINES = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_TEXTS = re.compile("[\ud800-\udfff]")
_SHOWN_CHARS_MAX = 40


class Fault(Exception):
    """One value is wrong. path: where it stands, built from the inside out. row: its place in a column."""

    def __init__(self, text: str, kind: type[TqError] = BadRequest) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.path = ""
        self.row = 0

    def inside(self, place: str) -> Fault:
        """The same fault seen from one level further out."""
        self.path = place + self.path
        return self

    def error(self) -> TqError:
        """What the sender is told: `tasks[3].priority: 300 is out of range; 0 to 255`."""
        return self.kind(f"{self.path.lstrip('.')}: {self.text}" if self.path else self.text)


class Field(Protocol):
    """What all kinds have in common."""

    def read(self, value: object) -> object: ...

    def read_column(self, column: Sequence[object]) -> Sequence[object]: ...


@runtime_checkable
class Compound(Field, Protocol):
    """A kind whose values have parts."""

    def parts(self, value: object) -> Iterator[tuple[str, Field, object]]:
        """(place, kind, value) of each; none when the value is not even of the right shape."""
        ...


class Whole:
    """An integer from low to high. A bool is none, an IntEnum becomes the plain number."""

    def __init__(self, low: int = 0, high: int = INT_MAX) -> None:
        self._low, self._high = low, high

    def read(self, value: object) -> int:
        if type(value) is not int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise Fault(f"{shown(value)} is not an integer; {self._low} to {self._high}")
            value = int(value)
        if self._low <= value <= self._high:
            return value
        raise Fault(f"{value} is out of range; {self._low} to {self._high}")

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if set(map(type, column)) == {int}:
            numbers: Sequence[int] = column  # type: ignore[assignment]  # just checked
            if min(numbers) >= self._low and max(numbers) <= self._high:
                return column
        return read_each(self, column)


class Flag:
    """True or false."""

    def read(self, value: object) -> bool:
        if value is True or value is False:
            return value
        raise Fault(f"{shown(value)} is not true or false")

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        return column if set(map(type, column)) <= {bool} else read_each(self, column)


class Line:
    """Text in one line: a name, a reason. No control characters, and always valid in UTF-8."""

    def __init__(self, chars_max: int, *, chars_min: int = 0) -> None:
        self._chars_min, self._chars_max = chars_min, chars_max

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise Fault(f"{shown(value)} is not text; {self._range()}")
        if not self._chars_min <= len(value) <= self._chars_max:
            raise Fault(f"{shown(value)} has {len(value)} characters; {self._range()}")
        # isprintable() is ten times faster than the pattern, and too strict: it refuses other spaces than ' '.
        if not value.isprintable() and (found := _NOT_IN_LINES.search(value)):
            raise Fault(f"{shown(value)} has the character {found[0]!r}; no control characters")
        return value

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if set(map(type, column)) == {str} and all(map(self._is_plain, set(column))):
            return column
        return read_each(self, column)

    def _is_plain(self, text: object) -> bool:
        return (
            isinstance(text, str) and self._chars_min <= len(text) <= self._chars_max and text.isprintable()
        )

    def _range(self) -> str:
        return f"{self._chars_min} to {self._chars_max} characters"


class Text:
    """Text in any number of lines. cut: longer text loses its middle and says so, instead of being refused."""

    def __init__(self, chars_max: int, *, cut: bool = False) -> None:
        self._chars_max, self._cut = chars_max, cut

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise Fault(f"{shown(value)} is not text; 0 to {self._chars_max} characters")
        if found := _NOT_IN_TEXTS.search(value):
            raise Fault(f"{shown(value)} has the character {found[0]!r}, which UTF-8 does not have")
        if len(value) <= self._chars_max:
            return value
        if not self._cut:
            raise Fault(f"{len(value)} characters; 0 to {self._chars_max}")
        # The last line of a traceback names the error, the first ones the place: keep both ends.
        note = f"\n[the middle of {len(value)} characters was cut]\n"
        head = (self._chars_max - len(note)) // 2
        tail = self._chars_max - len(note) - head
        return value[:head] + note + value[-tail:]

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if set(map(type, column)) == {str}:
            texts: Sequence[str] = column  # type: ignore[assignment]  # just checked
            if max(map(len, texts)) <= self._chars_max and not _NOT_IN_TEXTS.search("".join(texts)):
                return column
        return read_each(self, column)


class Blob:
    """Bytes, any. The one thing whose excess is PayloadTooLarge."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max

    def read(self, value: object) -> bytes:
        if type(value) is not bytes:
            raise Fault(f"{shown(value)} is not bytes; 0 to {self._bytes_max} bytes")
        if len(value) > self._bytes_max:
            raise Fault(f"{len(value)} bytes; 0 to {self._bytes_max}", PayloadTooLarge)
        return value

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if set(map(type, column)) == {bytes}:
            blobs: Sequence[bytes] = column  # type: ignore[assignment]  # just checked
            if max(map(len, blobs)) <= self._bytes_max:
                return column
        return read_each(self, column)


class Id:
    """Exactly 16 bytes."""

    def read(self, value: object) -> bytes:
        if type(value) is not bytes:
            raise Fault(f"{shown(value)} is not bytes; an id is {ID_BYTES} bytes")
        if len(value) != ID_BYTES:
            raise Fault(f"{len(value)} bytes; an id is {ID_BYTES} bytes")
        return value

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if set(map(type, column)) == {bytes}:
            ids: Sequence[bytes] = column  # type: ignore[assignment]  # just checked
            if set(map(len, ids)) == {ID_BYTES}:
                return column
        return read_each(self, column)


class Metadata:
    """A map of names to texts, bounded in entries and in bytes all told."""

    def read(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise Fault(f"{shown(value)} is not a map of text to text")
        if len(value) > METADATA_ITEMS_MAX:
            raise Fault(f"{len(value)} entries; 0 to {METADATA_ITEMS_MAX}")
        try:
            size = len(("".join(value) + "".join(value.values())).encode())
        except (TypeError, UnicodeEncodeError):
            raise _wrong_entry(value) from None
        if size > METADATA_BYTES_MAX:
            raise Fault(f"{size} bytes; keys and texts together 0 to {METADATA_BYTES_MAX}")
        return value

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        return column if not any(column) and set(map(type, column)) == {dict} else read_each(self, column)


def _wrong_entry(entries: dict[object, object]) -> Fault:
    """What is wrong with a map that does hold something wrong."""
    key, half = next(
        (key, half)
        for entry in entries.items()
        for key, half in ((entry[0], entry[0]), entry)
        if not isinstance(half, str) or _NOT_IN_TEXTS.search(half)
    )
    if isinstance(half, str):
        return Fault(f"{shown(half)} is not valid in UTF-8").inside(f"[{shown(key)}]")
    return Fault(f"{shown(half)} is not text; a map of text to text").inside(f"[{shown(key)}]")


class Optional:
    """Nothing, or what the field inside reads."""

    def __init__(self, inside: Field) -> None:
        self._inside = inside

    def read(self, value: object) -> object:
        return None if value is None else self._inside.read(value)

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if None not in column:
            return self._inside.read_column(column)
        return column if column.count(None) == len(column) else read_each(self, column)

    def parts(self, value: object) -> Iterator[tuple[str, Field, object]]:
        # Asked only of what `read` refuses, and nothing is never refused.
        yield "", self._inside, value


class Many:
    """A list of values of one kind.

    distinct: none may stand twice, or, for rows, no first field. alike: rows may, when they are the same in all fields.
    """

    def __init__(
        self,
        inside: Field,
        items_max: int,
        *,
        items_min: int = 0,
        distinct: bool = False,
        alike: bool = False,
    ) -> None:
        self._inside, self._items_min, self._items_max = inside, items_min, items_max
        self._distinct, self._alike = distinct, alike

    def read(self, value: object) -> tuple[object, ...]:
        if not isinstance(value, (tuple, list)):
            raise Fault(f"{shown(value)} is not a list")
        if not self._items_min <= len(value) <= self._items_max:
            raise Fault(f"{len(value)} items; {self._items_min} to {self._items_max}")
        if not value:
            return ()
        try:
            items = tuple(self._inside.read_column(value))
        except Fault as fault:
            raise fault.inside(f"[{fault.row}]") from None
        if self._distinct and len(items) > 1:
            _check_distinct(items, alike=self._alike)
        return items

    def read_column(self, column: Sequence[object]) -> Sequence[object]:
        if not self._items_min and column.count(()) == len(column):
            return column
        return read_each(self, column)

    def parts(self, value: object) -> Iterator[tuple[str, Field, object]]:
        if isinstance(value, (tuple, list)) and len(value) <= self._items_max:
            for place, item in enumerate(value):
                yield f"[{place}]", self._inside, item


def _check_distinct(items: tuple[object, ...], *, alike: bool) -> None:
    keys = [item[0] if isinstance(item, tuple) else item for item in items]
    if len(set(keys)) == len(keys):
        return
    first: dict[object, int] = {}
    for place, key in enumerate(keys):
        before = first.setdefault(key, place)
        if before != place and not (alike and items[before] == items[place]):
            other = ", with other fields" if alike else ""
            raise Fault(f"the same id stands at [{before}]{other}").inside(f"[{place}]")


def shown(value: object) -> str:
    """A value in a few characters, however large it is."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN_CHARS_MAX else repr(value[:_SHOWN_CHARS_MAX]) + "..."
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (tuple, list)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"a map of {len(value)}"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def read_each(field: Field, column: Sequence[object]) -> list[object]:
    """The slow way through a column; a fault knows its row."""
    done: list[object] = []
    try:
        for value in column:
            done.append(field.read(value))
    except Fault as fault:
        fault.row = len(done)
        raise
    return done
