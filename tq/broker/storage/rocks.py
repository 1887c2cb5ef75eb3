"""The store on RocksDB: one column family per table, one write batch per entry.

Writes go to the write-ahead log at once and to the disk at `sync`. Nothing is acknowledged on the strength of a
`write`: the journal has the entry, and a store that lost its unsynced end after a crash is brought up from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tq.broker.rocksdb.database import Database
from tq.broker.rocksdb.inspection import OnVerified, unheard
from tq.broker.rocksdb.options import Family
from tq.broker.storage.store import Write
from tq.broker.tables import Table

CACHE_BYTES = 48 * 1024**2
"""Block cache shared by all tables, indexes and filters included."""

_POINT_LOOKUPS = {Table.ENDED, Table.UNIQUE}
"""Every submit asks whether its id has ended already, and nearly always it has not."""
_COLD = {Table.ENDED, Table.RESULT, Table.ATTEMPT}

FAMILIES = tuple(Family(t.value, has_point_lookups=t in _POINT_LOOKUPS, is_cold=t in _COLD) for t in Table)


class RocksStore:
    """Serves `storage.store.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By the name each member carries: hashing an Enum member calls Python code, hashing its name does not.
        self._families = database.families
        self._handles = database.handles

    @classmethod
    def open(cls, path: str, *, create: bool, on_verified: OnVerified = unheard) -> RocksStore:
        """create: nothing was ever acknowledged from here, so a missing or half-made database is made.

        on_verified: every row is read first, about 2 s per 1,000,000 rows of 1 KB; this is told how far it got.
        Raises StoreDamaged naming what is damaged and what to do; nothing was changed then.
        """
        return cls(
            Database.open(path, FAMILIES, create=create, cache_bytes=CACHE_BYTES, on_verified=on_verified)
        )

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._database.get(self._families[table._value_], key)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._database.get_many(self._families[table._value_], keys)

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._database.scan(self._families[table._value_], start, stop, reverse=reverse)

    def write(self, batch: Sequence[Write | tuple[Table, bytes, bytes | None]]) -> None:
        self.prepare(batch)()

    def prepare(self, batch: Sequence[Write | tuple[Table, bytes, bytes | None]]) -> Callable[[], None]:
        handles = self._handles
        changes = self._database.batch()
        put, delete = changes.put, changes.delete
        for table, key, value in batch:
            if value is None:
                delete(key, handles[table._value_])
            else:
                put(key, value, handles[table._value_])
        return partial(self._database.write, changes)

    def sync(self) -> None:
        self._database.sync()
        self._database.sync_witness()

    def checkpoint(self, directory: str) -> None:
        self._database.checkpoint(directory)

    def size_bytes(self) -> int:
        return self._database.property_sum("rocksdb.total-sst-files-size") + self._database.property_sum(
            "rocksdb.size-all-mem-tables"
        )

    def close(self) -> None:
        self._database.close()
