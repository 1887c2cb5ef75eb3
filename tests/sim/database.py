"""The production journal's database, simulated: batches are atomic, and durable when a sync has returned.

The journal above is the real one, with its checksums, its witness and what it refuses to open. What a power loss may
take here is what it may take from RocksDB and a witness that is written without fsync: the batch under way, and the
newest word of the witness.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TypeAlias

from tests.sim.disk import SimDisk
from tq.errors import StoreDamaged

Rows: TypeAlias = dict[bytes, bytes]
_Change: TypeAlias = tuple[str, bytes, bytes, bool]
"""(family, key, value or stop, whether it is a range to delete)."""


class SimBatch:
    def __init__(self) -> None:
        self.changes: list[_Change] = []

    def put(self, key: bytes, value: bytes, handle: str) -> None:
        self.changes.append((handle, key, value, False))

    def delete_range(self, start: bytes, stop: bytes, handle: str) -> None:
        self.changes.append((handle, start, stop, True))

    def is_empty(self) -> bool:
        return not self.changes


class Image:
    """What is on the disk. note: what the witness says; old_note: what it says for certain after a power loss."""

    def __init__(self, families: tuple[str, ...]) -> None:
        self.rows: dict[str, Rows] = {name: {} for name in families}
        self.note = b""
        self.old_note = b""
        self.is_made = False
        self.is_torn = False

    def apply(self, batch: SimBatch) -> None:
        for family, key, value, is_range in batch.changes:
            rows = self.rows[family]
            if is_range:
                for found in [found for found in rows if key <= found < value]:
                    del rows[found]
            else:
                rows[key] = value

    def crash(self, rng: Random) -> None:
        if rng.random() < 0.5:
            self.note = self.old_note


class SimDatabase:
    """As much of `tq.broker.rocksdb.database.Database` as the journal uses."""

    def __init__(self, path: str, image: Image, disk: SimDisk) -> None:
        self.path = path
        self.image = image
        self._disk = disk
        self.families = {name: name for name in image.rows}
        self.handles = self.families
        self.failure: OSError | None = None
        if image.is_torn:
            raise StoreDamaged(f"{path}: the end of its newest log is not readable")

    @property
    def note(self) -> bytes:
        return self.image.note

    def batch(self) -> SimBatch:
        return SimBatch()

    def get(self, family: str, key: bytes) -> bytes | None:
        return self.image.rows[family].get(key)

    def scan(
        self, family: str, start: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self.image.rows[family]
        for key in sorted(key for key in rows if key >= start and (stop is None or key < stop)):
            yield key, rows[key]

    def write_synced(self, batch: SimBatch, note: bytes) -> None:
        self._check(batch)
        self.image.apply(batch)
        self.image.note = note
        self.image.is_made = True

    def sync(self, note: bytes | None = None) -> None:
        self._check(SimBatch())
        self.image.note = self.image.note if note is None else note

    def sync_witness(self) -> None:
        self._check(SimBatch())
        self.image.old_note = self.image.note

    def close(self) -> None:
        """Nothing to let go of."""

    def abandon(self) -> None:
        """Nothing to let go of."""

    def _check(self, batch: SimBatch) -> None:
        """A disk that fails may have kept the batch, or not; nobody is told which."""
        if self.failure is not None:
            raise self.failure
        try:
            self._disk.check()
        except OSError as error:
            self.failure = error
            if self._disk.rng.random() < 0.5:
                self.image.apply(batch)
            raise
