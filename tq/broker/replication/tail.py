"""The youngest entries of the journal, in memory, and the places at which the oldest can be cut off."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from tq.broker.replication.records import Link

TAIL_ENTRIES_MAX = 1_024
TAIL_BYTES_MAX = 4 * 1024**2
"""Kept after they are synced, for followers that are a few entries behind."""

TRAILING_ENTRIES = 20_000
TRAILING_BYTES = 64 * 1024**2
"""Trimming leaves this much, whichever is less: a node that lags less needs no snapshot, and a store that lost its
newest writes is brought up again."""
TRIM_ENTRIES_MIN = 10_000
TRIM_BYTES_MIN = 16 * 1024**2
"""Trimming less than both is not worth a range tombstone."""
MARK_ENTRIES = 1_000
MARK_BYTES = 1024**2
"""How far apart the places for a cut are, at most."""


class Tail:
    """index -> (link, data), oldest first; at most TAIL_ENTRIES_MAX and TAIL_BYTES_MAX of what is durable."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Link, bytes]] = {}
        self._bytes = 0

    def get(self, index: int) -> tuple[Link, bytes] | None:
        return self._held.get(index)

    def add(self, link: Link, data: bytes, *, durable_index: int) -> None:
        """Hold one more, and let go of old ones up to durable_index; those above are nowhere else yet."""
        held = self._held
        held[link.index] = (link, data)
        self._bytes += len(data)
        while len(held) > TAIL_ENTRIES_MAX or self._bytes > TAIL_BYTES_MAX:
            oldest = next(iter(held))
            if oldest > durable_index or oldest == link.index:
                break
            self._bytes -= len(held.pop(oldest)[1])

    def cut_from(self, index: int, stop: int) -> None:
        """Forget start <= index < stop."""
        for gone in range(max(index, stop - len(self._held)), stop):
            held = self._held.pop(gone, None)
            self._bytes -= len(held[1]) if held is not None else 0


class Mark(NamedTuple):
    """bytes_total: data appended up to and with this entry, counted from an arbitrary beginning."""

    link: Link
    bytes_total: int


class TrimMarks:
    """Where the journal can be cut without reading it: an entry now and then, with its link."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()
        self._base = Mark(Link(0, 0, 0), 0)
        self._last = self._base

    def note(self, link: Link, data_bytes: int) -> None:
        """One entry was added."""
        self._last = Mark(link, self._last.bytes_total + data_bytes)
        before = self._marks[-1] if self._marks else self._base
        if (
            link.index - before.link.index >= MARK_ENTRIES
            or self._last.bytes_total - before.bytes_total >= MARK_BYTES
        ):
            self._marks.append(self._last)

    def cut_from(self, last: Link) -> None:
        """Entries behind `last` are gone."""
        while self._marks and self._marks[-1].link.index > last.index:
            self._marks.pop()
        # How many bytes went is not known; counting them still only keeps a little less than the trailing window.
        self._last = Mark(last, self._last.bytes_total)

    def reset(self, base: Link) -> None:
        self._marks.clear()
        self._base = self._last = Mark(base, 0)

    def take(self, upto: int) -> Link | None:
        """The last entry to trim away, at most `upto`; None when it is not worth it."""
        chosen = None
        for mark in self._marks:
            leaves_entries = self._last.link.index - mark.link.index
            leaves_bytes = self._last.bytes_total - mark.bytes_total
            if mark.link.index > upto or (
                leaves_entries < TRAILING_ENTRIES and leaves_bytes < TRAILING_BYTES
            ):
                break
            chosen = mark
        if chosen is None or not self._is_worth_it(chosen):
            return None
        while self._marks and self._marks[0].link.index <= chosen.link.index:
            self._marks.popleft()
        self._base = chosen
        return chosen.link

    def _is_worth_it(self, mark: Mark) -> bool:
        entries = mark.link.index - self._base.link.index
        return entries >= TRIM_ENTRIES_MIN or mark.bytes_total - self._base.bytes_total >= TRIM_BYTES_MIN
