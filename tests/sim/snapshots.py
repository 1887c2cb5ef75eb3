"""Copies of a node's state, as `replication.ports.Snapshots` has them, on the simulated disk.

Made on the disk thread behind the batches before them, whole or not at all; received piece by piece; what is received
and not yet installed may be gone after a power loss.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from random import Random

import msgpack

from tests.sim.disk import SimDisk, SimDiskThread
from tq.broker.replication.ports import SnapshotInfo
from tq.broker.replication.records import Link
from tq.broker.storage.memory import Batch, MemoryStore
from tq.broker.tables import Table

PIECE_BYTES = 2_000
PIECES_MAX = 12


class SimStore(MemoryStore):
    """The store in memory, on a disk that may fail."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__()
        self._disk = disk

    def write(self, batch: Batch) -> None:
        self._disk.take_room()
        super().write(batch)

    def sync(self) -> None:
        self._disk.check()
        super().sync()

    def close(self) -> None:
        """Killed processes close nothing."""


class SnapshotDrive:
    """What of the snapshots and the store outlives a process. installed: the end of the last one put in place."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self.store = SimStore(disk)
        self.newest: tuple[SnapshotInfo, bytes] | None = None
        self.partial: tuple[SnapshotInfo, bytearray] | None = None
        self.installed: Link | None = None
        self.installed_members = b""

    def crash(self, rng: Random) -> None:
        self.store.crash(rng)
        if self.partial is not None:
            info, data = self.partial
            self.partial = (info, data[: rng.randint(0, len(data))])

    def flip(self, rng: Random) -> bool:
        """One bit of the copy made last, or of what was received of another; False when there is neither."""
        if self.partial is not None and self.partial[1]:
            _flip(self.partial[1], rng)
        elif self.newest is not None:
            info, data = self.newest
            damaged = bytearray(data)
            _flip(damaged, rng)
            self.newest = (info, bytes(damaged))
        else:
            return False
        return True


def _flip(data: bytearray, rng: Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


class SimSnapshots:
    def __init__(
        self,
        drive: SnapshotDrive,
        disk: SimDisk,
        thread: SimDiskThread,
        *,
        prepare: Callable[[], None],
        position: Callable[[], tuple[Link, bytes]],
        on_installed: Callable[[], None],
        on_damaged: Callable[[], None],
    ) -> None:
        """prepare: hands what was applied to the disk thread. position: the entry applied last, and the members then."""
        self._drive = drive
        self._disk = disk
        self._thread = thread
        self._prepare = prepare
        self._position = position
        self._on_installed = on_installed
        self._on_damaged = on_damaged
        self._is_making = False

    def newest(self) -> SnapshotInfo | None:
        return self._drive.newest[0] if self._drive.newest is not None else None

    def make(self) -> None:
        if self._is_making:
            return
        self._is_making = True
        self._prepare()
        link, members = self._position()
        store = self._drive.store

        def job() -> None:
            store.sync()
            data = _pack(store)
            self._drive.newest = (SnapshotInfo(link, len(data), sha256(data).digest(), members), data)

        def done(result: object) -> None:
            self._is_making = False
            if isinstance(result, Exception):
                raise result

        self._thread.call(job, done)

    def read(self, info: SnapshotInfo, offset: int, bytes_max: int) -> bytes:
        found = self._drive.newest
        if found is None or found[0] != info:
            return b""
        # Small pieces: a transfer is to take long enough to be cut, and still to end.
        return found[1][offset : offset + min(bytes_max, max(PIECE_BYTES, info.size // PIECES_MAX))]

    def begin(self, info: SnapshotInfo) -> int:
        if self._drive.partial is None or self._drive.partial[0] != info:
            self._drive.partial = (info, bytearray())
        return len(self._drive.partial[1])

    def write(self, info: SnapshotInfo, offset: int, data: bytes) -> None:
        assert self._drive.partial is not None
        assert self._drive.partial[0] == info
        assert len(self._drive.partial[1]) == offset
        self._disk.take_room()
        self._drive.partial[1].extend(data)

    def install(self, info: SnapshotInfo, done: Callable[[bool], None]) -> None:
        assert self._drive.partial is not None
        data = bytes(self._drive.partial[1])

        def job() -> bool:
            self._disk.check()
            self._drive.partial = None
            if sha256(data).digest() != info.digest:
                return False
            self._drive.store = _unpack(data, self._disk)
            self._drive.installed, self._drive.installed_members = info.link, info.members
            self._drive.newest = (info, data)
            return True

        def told(result: bool | Exception) -> None:
            if isinstance(result, Exception):
                raise result
            (self._on_installed if result else self._on_damaged)()
            done(result)

        self._thread.call(job, told)


def _pack(store: MemoryStore) -> bytes:
    packed: bytes = msgpack.packb([[list(row) for row in store.scan(table)] for table in Table])
    return packed


def _unpack(data: bytes, disk: SimDisk) -> SimStore:
    store = SimStore(disk)
    for table, rows in zip(Table, msgpack.unpackb(data), strict=True):
        store.write([(table, key, value) for key, value in rows])
    MemoryStore.sync(store)
    return store
