"""The journal in memory: the same rules, for `tq.testing` and for simulated disks that crash and fail.

What was changed is visible at once; `sync` makes it survive `crash`. A batch is durable whole or not at all, as it is
in RocksDB.
"""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.replication.ports import Behind
from tq.broker.replication.records import BEGINNING, CONTROL, Entry, Link, pack_entry
from tq.errors import StoreDamaged

NEAR_ENTRIES = 16
"""So few count as being in memory: simulations are to walk the path of those that are not, too."""


class _Image:
    """What a journal holds. entries: those behind base, in order."""

    def __init__(self) -> None:
        self.base = BEGINNING
        self.entries: list[tuple[Link, bytes]] = []
        self.term = 0
        self.voted_for = ""
        self.commit_index = 0
        self.members = b""


class MemoryJournal:
    """Serves `ports.RaftJournal`. Beyond it: `sync`, `crash`, `fail_next`, and `durable`, for checking invariants."""

    def __init__(self, *, trailing_entries: int = 20_000) -> None:
        """trailing_entries: how many `trim` leaves behind."""
        self._trailing_entries = trailing_entries
        self._seen = _Image()
        self._kept = _Image()
        self._changes: list[Callable[[_Image], None]] = []
        self._failure: OSError | None = None

    @property
    def base(self) -> Link:
        return self._seen.base

    @property
    def last(self) -> Link:
        return _last(self._seen)

    @property
    def first_index(self) -> int:
        return self._seen.base.index + 1

    @property
    def last_index(self) -> int:
        return self.last.index

    @property
    def durable(self) -> Link:
        """The last entry that a crash leaves."""
        return _last(self._kept)

    @property
    def term(self) -> int:
        return self._seen.term

    @property
    def voted_for(self) -> str:
        return self._seen.voted_for

    @property
    def durable_vote(self) -> tuple[int, str]:
        """(term, voted for) that a crash leaves."""
        return self._kept.term, self._kept.voted_for

    @property
    def commit_index(self) -> int:
        return min(self._seen.commit_index, self.last.index)

    @property
    def members(self) -> bytes:
        return self._seen.members

    def append(self, term: int, data: bytes) -> int:
        link, _ = pack_entry(self.last, term, data)
        self._change(lambda image: image.entries.append((link, data)))
        return link.index

    def truncate_from(self, index: int) -> None:
        if index < self.first_index:
            raise ValueError(f"entry {index} was trimmed away: the journal begins at {self.first_index}")
        place = index - self.first_index

        def truncate(image: _Image) -> None:
            del image.entries[place:]

        self._change(truncate)

    def trim(self, upto: int) -> None:
        base = min(upto, self.last.index - self._trailing_entries)
        if base <= self._seen.base.index:
            return
        link = self.link(base)

        def trim(image: _Image) -> None:
            del image.entries[: link.index - image.base.index]
            image.base = link

        self._change(trim)

    def reset(self, base: Link) -> None:
        def reset(image: _Image) -> None:
            image.entries.clear()
            image.base = base

        self._change(reset)

    def set_term(self, term: int, voted_for: str) -> None:
        def set_term(image: _Image) -> None:
            image.term, image.voted_for = term, voted_for

        self._change(set_term)

    def set_commit_index(self, index: int) -> None:
        def set_commit_index(image: _Image) -> None:
            image.commit_index = index

        self._change(set_commit_index)

    def set_members(self, members: bytes) -> None:
        def set_members(image: _Image) -> None:
            image.members = members

        self._change(set_members)

    def controls(self) -> list[tuple[int, bytes]]:
        return [(link.index, data) for link, data in self._seen.entries if data[:1] == CONTROL]

    def entry(self, index: int) -> Entry:
        link, data = self._held(index)
        return Entry(index, link.term, data)

    def link(self, index: int) -> Link:
        return self._seen.base if index == self._seen.base.index else self._held(index)[0]

    def is_near(self, index: int) -> bool:
        return self.last.index - NEAR_ENTRIES < index <= self.last.index and index >= self.first_index

    def read_behind(self, previous: int, *, entries_max: int, bytes_max: int) -> Behind | None:
        if previous < self._seen.base.index:
            return None
        found: list[tuple[int, bytes]] = []
        room = bytes_max
        for link, data in self._seen.entries[previous - self._seen.base.index :][:entries_max]:
            room -= len(data)
            if found and room < 0:
                break
            found.append((link.term, data))
        return Behind(self.link(previous), tuple(found))

    def sync(self) -> None:
        """Make everything changed so far survive. Raises what `fail_next` was given, and from then on always."""
        if self._failure is not None:
            raise self._failure
        changes, self._changes = self._changes, []
        for change in changes:
            change(self._kept)

    def crash(self) -> None:
        """The process or the machine died: only what was synced is left."""
        self._changes.clear()
        self._failure = None
        seen, kept = self._seen, self._kept
        seen.base, seen.entries = kept.base, list(kept.entries)
        seen.term, seen.voted_for = kept.term, kept.voted_for
        seen.commit_index, seen.members = kept.commit_index, kept.members

    def fail_next(self, error: OSError) -> None:
        """The next sync, and every later one until `crash`, raises it."""
        self._failure = error

    def _change(self, change: Callable[[_Image], None]) -> None:
        change(self._seen)
        self._changes.append(change)

    def _held(self, index: int) -> tuple[Link, bytes]:
        place = index - self.first_index
        if not 0 <= place < len(self._seen.entries):
            raise StoreDamaged(f"entry {index} is not held")
        return self._seen.entries[place]


def _last(image: _Image) -> Link:
    return image.entries[-1][0] if image.entries else image.base
