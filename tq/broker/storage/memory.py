"""The store in memory: the same port, for `tq.testing` and for simulated disks that crash, fail and fill up."""

from __future__ import annotations

import copy
import errno
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import TypeAlias

from tq.broker.storage.store import Write
from tq.broker.tables import Table

Batch: TypeAlias = Sequence[Write | tuple[Table, bytes, bytes | None]]
_Content: TypeAlias = dict[Table, dict[bytes, bytes]]


class MemoryStore:
    """Serves `storage.store.Store`. Beyond the port: `crash`, `fail_next` and a disk of limited size."""

    def __init__(self, *, disk_bytes_max: int | None = None) -> None:
        """disk_bytes_max: a write that would make the store larger fails as on a full disk. None = no limit."""
        self._disk_bytes_max = disk_bytes_max
        self._visible: _Content = {table: {} for table in Table}
        self._sorted: dict[Table, list[bytes]] = {}
        self._synced: _Content = {table: {} for table in Table}
        self._unsynced: list[Batch] = []
        self._size_bytes = 0
        self._failures: dict[str, OSError] = {}
        self._is_failed = False
        self._checkpoints: dict[str, _Content] = {}

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._visible[table].get(key)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = self._visible[table]
        return [rows.get(key) for key in keys]

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._visible[table]
        keys = self._sorted.get(table)
        if keys is None:
            keys = self._sorted[table] = sorted(rows)
        found = keys[bisect_left(keys, start) : len(keys) if stop is None else bisect_left(keys, stop)]
        for key in reversed(found) if reverse else found:
            value = rows.get(key)
            if value is not None:
                yield key, value

    def write(self, batch: Batch) -> None:
        self._check("write")
        changes = list(batch)
        growth = _growth(self._visible, changes)
        if self._disk_bytes_max is not None and self._size_bytes + growth > self._disk_bytes_max:
            self._is_failed = True
            raise OSError(errno.ENOSPC, "no space left on the simulated disk")
        self._unsynced.append(changes)
        self._show(changes)
        self._size_bytes += growth

    def prepare(self, batch: Batch) -> Callable[[], None]:
        return partial(self.write, batch)

    def sync(self) -> None:
        self._check("sync")
        for batch in self._unsynced:
            _apply(self._synced, batch)
        self._unsynced.clear()

    def checkpoint(self, directory: str) -> None:
        self._check("checkpoint")
        if directory in self._checkpoints:
            raise FileExistsError(errno.EEXIST, "the checkpoint exists already", directory)
        self._checkpoints[directory] = copy.deepcopy(self._visible)

    def open_checkpoint(self, directory: str) -> MemoryStore:
        """A store of its own with what the checkpoint holds. Raises KeyError when there is none."""
        store = MemoryStore()
        for table, rows in self._checkpoints[directory].items():
            store.write([(table, key, value) for key, value in rows.items()])
        store.sync()
        return store

    def size_bytes(self) -> int:
        return self._size_bytes

    def close(self) -> None:
        if not self._is_failed:
            self.sync()

    def fail_next(self, operation: str, error: OSError | None = None) -> None:
        """Let the next "write", "sync" or "checkpoint" raise error (default EIO); after it all of them refuse.

        The failed write is torn: a crash leaves nothing of it.
        """
        self._failures[operation] = error or OSError(errno.EIO, f"simulated failure of {operation}")

    def crash(self, rng: Random | None = None) -> int:
        """Lose power and come back: what was synced, and of the batches after it a prefix of random length.

        rng None keeps only what was synced, the worst a disk may do. Returns how many unsynced batches survived.
        """
        kept = rng.randint(0, len(self._unsynced)) if rng is not None else 0
        for batch in self._unsynced[:kept]:
            _apply(self._synced, batch)
        self._unsynced.clear()
        self._visible = {table: dict(rows) for table, rows in self._synced.items()}
        self._sorted.clear()
        self._size_bytes = sum(len(k) + len(v) for rows in self._visible.values() for k, v in rows.items())
        self._failures.clear()
        self._is_failed = False
        return kept

    def _show(self, batch: Batch) -> None:
        for table in {change[0] for change in batch}:
            self._sorted.pop(table, None)
        _apply(self._visible, batch)

    def _check(self, operation: str) -> None:
        error = self._failures.pop(operation, None)
        if error is not None:
            self._is_failed = True
            raise error
        if self._is_failed:
            raise OSError(errno.EIO, "nothing is written after a failure")


def _apply(content: _Content, batch: Batch) -> None:
    for table, key, value in batch:
        if value is None:
            content[table].pop(key, None)
        else:
            content[table][key] = value


def _growth(content: _Content, batch: Batch) -> int:
    """By how many bytes the batch makes the content larger; a key changed twice in it counts twice."""
    growth = 0
    for table, key, value in batch:
        old = content[table].get(key)
        if old is not None:
            growth -= len(key) + len(old)
        if value is not None:
            growth += len(key) + len(value)
    return growth
