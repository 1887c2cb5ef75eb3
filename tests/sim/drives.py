"""What of a production node outlives its processes, and its journal as the invariants watch it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.sim.consensus import Watcher
from tests.sim.database import Image
from tests.sim.disk import SimDisk
from tests.sim.snapshots import SnapshotDrive
from tq.broker.replication.journal import FAMILIES, STATE, STATE_KEY, Journal
from tq.broker.replication.records import State, entry_key, unpack_note, unpack_state


class HardDrive:
    """All that outlives a process: the journal's database, the store, the snapshots, and the disks of the peers."""

    def __init__(self, disk: SimDisk, disk_id: str) -> None:
        self.disk_id = disk_id
        self.book: dict[str, str] = {}
        self.image = Image(tuple(family.name for family in FAMILIES))
        self.snapshots = SnapshotDrive(disk)
        self._state: tuple[bytes | None, State] = (None, State())
        disk.contents += [self.image, self.snapshots]

    def state(self) -> State:
        """Term, vote and base as they are on the disk."""
        record = self.image.rows[STATE].get(STATE_KEY)
        if record is not self._state[0]:
            self._state = (record, State() if record is None else unpack_state(record))
        return self._state[1]

    def term_at(self, index: int) -> int | None:
        record = self.image.rows["entries"].get(entry_key(index))
        if record is None:
            return 0 if index <= self.state().base.index else None
        # crc 4, previous crc 4, index 8, term 8: see `replication.records`.
        return int.from_bytes(record[16:24], "big")

    @property
    def begins_as_observer(self) -> bool:
        """It was set aside once because it was damaged: see `tq.broker.foundation`."""
        return not self.disk_id.endswith("/1")

    def spoil(self, how: str, rng: Random) -> bool:
        """Damage what lies there while no process runs; False when there is nothing to damage yet."""
        is_damaged: bool = getattr(self, f"_{how}")(rng)
        return is_damaged

    def _flip_bit(self, rng: Random) -> bool:
        """In one row of the journal, any of them."""
        rows = rng.choice([rows for rows in self.image.rows.values() if rows] or [{}])
        if not rows:
            return False
        key = rng.choice(sorted(rows))
        record = bytearray(rows[key])
        record[rng.randrange(len(record))] ^= 1 << rng.randrange(8)
        rows[key] = bytes(record)
        return True

    def _flip_snapshot(self, rng: Random) -> bool:
        return self.snapshots.flip(rng)

    def _lose_end(self, rng: Random) -> bool:
        """The newest entries are gone, as if the end of a file had never been written."""
        rows = self.image.rows["entries"]
        newest = sorted(rows)[-rng.randint(1, 5) :]
        # After a loss of power the witness may be a second old, and then nobody can tell: see DESIGN.md.
        if not newest or entry_key(unpack_note(self.image.note).last.index) != newest[-1]:
            return False
        for key in newest:
            del rows[key]
        return True

    def _tear(self, rng: Random) -> bool:
        """The power went while the end of a file was being written, and left something else there."""
        self.image.is_torn = True
        return True

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
