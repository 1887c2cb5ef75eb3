"""The journal as the Raft library sees it: a list whose first item is the entry below the first one held.

The library never sees entries' data and never changes entries, but for the one it adds when it becomes leader; its
items are (data, index, term) with the data left out. Term and vote pass through to the journal.
"""

from __future__ import annotations

from typing import NoReturn

from tq.broker.replication.ports import RaftJournal

NO_OP = b""
"""What a new leader's first entry holds. Nobody may propose it."""
Item = tuple[bytes, int, int]


class LogView:
    """Serves what `pysyncobj.journal.Journal` would, as far as the hardened library asks."""

    def __init__(self, journal: RaftJournal) -> None:
        self._journal = journal
        self.is_dirty = False
        """Whether anything was changed that an answer may hang on. The commit index alone is not: a node that
        forgets it learns it again."""
        self.has_new_term = False
        """Whether term or vote were changed and are not on the disk yet."""

    def __len__(self) -> int:
        """At least 1: the library would otherwise begin the log with an entry of its own."""
        return self._journal.last.index - self._journal.base.index + 1

    def __getitem__(self, place: int) -> Item:
        """The first (0) or the last (-1)."""
        link = (self._journal.base, self._journal.last)[place]
        return NO_OP, link.index, link.term

    def slice(self, start: int, count: int) -> list[Item]:
        """At most `count` entries from index `start` on; empty when `start` is not held."""
        journal = self._journal
        if start < journal.base.index:
            return []
        stop = min(start + count, journal.last.index + 1)
        return [(NO_OP, index, journal.link(index).term) for index in range(start, stop)]

    def add(self, command: bytes, index: int, term: int) -> None:
        """The library adds one entry: a new leader's first."""
        assert index == self._journal.last.index + 1, f"entry {index} added behind {self._journal.last.index}"
        self.append(term, NO_OP)

    def append(self, term: int, data: bytes) -> int:
        self.is_dirty = True
        return self._journal.append(term, data)

    def truncate_from(self, index: int) -> None:
        self.is_dirty = True
        self._journal.truncate_from(index)

    def clear(self) -> NoReturn:
        raise AssertionError("the Raft library wanted to clear the log")

    deleteEntriesFrom = deleteEntriesTo = clear  # noqa: N815  the library's names

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._journal.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self._journal.voted_for or None

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: N802
        self.is_dirty = self.has_new_term = True
        self._journal.set_term(term, voted_for or "")

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return max(self._journal.commit_index, self._journal.base.index)

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802
        if index > self._journal.commit_index:
            self._journal.set_commit_index(index)

    def onOneSecondTimer(self) -> None:  # noqa: N802
        """The library's own journal would write its commit index now."""
