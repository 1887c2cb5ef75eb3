"""The library's journal as it behaves on a disk: a mapped file, written back by the kernel when it likes.

Killing the process loses nothing of it; losing power keeps a beginning of what had not been written back.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, TypeAlias

Record: TypeAlias = tuple[bytes, int, int]
"""(command, index, term), as the library keeps it."""


class Meta(NamedTuple):
    commit_index: int = 1
    term: int = 0
    voted_for: str | None = None


_Change: TypeAlias = Callable[["StockDrive"], None]


class StockDrive:
    """What of a journal is on the disk for certain, and what the kernel still holds."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.meta = Meta()
        self._unsynced: list[_Change] = []

    def change(self, change: _Change) -> None:
        self._unsynced.append(change)

    def write_back(self, count: int | None = None) -> None:
        """The kernel writes the oldest changes, all or so many, and forgets the rest of them."""
        for change in self._unsynced[:count]:
            change(self)
        self._unsynced.clear()

    def crash(self, rng: Random) -> None:
        self.write_back(rng.randrange(len(self._unsynced) + 1))


class StockJournal:
    """What `createJournal` makes. Positions are places in the list, as the library has it."""

    def __init__(
        self, drive: StockDrive, on_add: Callable[[Record, int], None], on_cut: Callable[[int], None]
    ) -> None:
        """on_add: told of each entry and the term before it. on_cut: told the lowest index cut from the end."""
        drive.write_back()
        self._drive = drive
        self._on_add = on_add
        self._on_cut = on_cut
        self.records = list(drive.records)
        self.meta = drive.meta

    def add(self, command: bytes, index: int, term: int) -> None:
        record = (command, index, term)
        self._on_add(record, self.records[-1][2] if self.records else 0)
        self.records.append(record)
        self._drive.change(lambda drive: drive.records.append(record))

    def clear(self) -> None:
        self.records = []
        self._drive.change(lambda drive: drive.records.clear())

    def deleteEntriesFrom(self, position: int) -> None:  # noqa: N802 - the library's name
        if position < len(self.records):
            self._on_cut(self.records[position][1])
        del self.records[position:]
        self._drive.change(lambda drive: drive.records.__delitem__(slice(position, None)))

    def deleteEntriesTo(self, position: int) -> None:  # noqa: N802 - the library's name
        self.records = self.records[position:]
        self._drive.change(lambda drive: drive.records.__delitem__(slice(None, position)))

    def __getitem__(self, position: Any) -> Any:
        return self.records[position]

    def __len__(self) -> int:
        return len(self.records)

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802 - the library's name
        self._note(self.meta._replace(commit_index=index))

    def getRaftCommitIndex(self) -> int:  # noqa: N802 - the library's name
        return self.meta.commit_index

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: N802 - the library's name
        self._note(self.meta._replace(term=term, voted_for=voted_for))

    def getCurrentTerm(self) -> int:  # noqa: N802 - the library's name
        return self.meta.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - the library's name
        return self.meta.voted_for

    def onOneSecondTimer(self) -> None:  # noqa: N802 - the library's name
        return None

    def _destroy(self) -> None:
        return None

    def _note(self, meta: Meta) -> None:
        self.meta = meta

        def change(drive: StockDrive) -> None:
            drive.meta = meta

        self._drive.change(change)
