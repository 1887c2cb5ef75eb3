"""What of a production node outlives its processes, and its journal as the invariants watch it."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.consensus import Watcher
from tests.sim.database import Image
from tests.sim.disk import SimDisk
from tests.sim.snapshots import SnapshotDrive
from tq.broker.replication.journal import FAMILIES, STATE, STATE_KEY, Journal
from tq.broker.replication.records import State, entry_key, unpack_state


class HardDrive:
    """All that outlives a process: the journal's database, the store, the snapshots."""

    def __init__(self, disk: SimDisk) -> None:
        self.image = Image(tuple(family.name for family in FAMILIES))
        self.snapshots = SnapshotDrive(disk)
        disk.contents += [self.image, self.snapshots]

    def state(self) -> State:
        """Term, vote and base as they are on the disk."""
        record = self.image.rows[STATE].get(STATE_KEY)
        return State() if record is None else unpack_state(record)

    def term_at(self, index: int) -> int | None:
        record = self.image.rows["entries"].get(entry_key(index))
        if record is None:
            return 0 if index <= self.state().base.index else None
        # crc 4, previous crc 4, index 8, term 8: see `replication.records`.
        return int.from_bytes(record[16:24], "big")

    def close(self) -> None:
        """It is all in memory."""


class WatchedJournal(Journal):
    """The production journal; what is done to it is told to the invariants."""

    watcher: Watcher
    node: str
    applied: Callable[[], int]

    def append(self, term: int, data: bytes) -> int:
        before = self.last
        index = super().append(term, data)
        self.watcher.added(self.node, index, term, before.term, self.last.crc)
        return index

    def truncate_from(self, index: int) -> None:
        if index <= self.last_index:
            self.watcher.cut(self.node, index, self.commit_index, self.applied())
        super().truncate_from(index)
