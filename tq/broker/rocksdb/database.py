"""One RocksDB database, opened only when it holds everything that was synced to it.

Opening looks before it touches: a normal open replays logs, writes files and deletes what it does not know, which
turns damage that could be repaired into damage that cannot. So `inspection` comes first, and only when it finds
nothing missing is the database opened for writing.

Threads: writing, syncing and closing belong to one thread; reading is free. rocksdict raises plain `Exception` for
everything RocksDB says; it is mapped here, and nothing of it leaves.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from rocksdict import Cache, Checkpoint, ColumnFamily, Rdict, WriteBatch, WriteOptions

from tq.broker.rocksdb import rows
from tq.broker.rocksdb.files import has_database, manifest_number, manifest_path, sync_directory
from tq.broker.rocksdb.inspection import OnVerified, inspect, unheard
from tq.broker.rocksdb.opening import damaged, mapped, open_rdict
from tq.broker.rocksdb.options import Family
from tq.broker.rocksdb.witness import Sighting, Witness, read_witness
from tq.errors import StoreDamaged

Row: TypeAlias = tuple[bytes, bytes]


class Database:
    """An open database. `families` maps a name to what reads it, `handles` to what a batch writes to."""

    def __init__(self, path: str, rdict: Rdict, families: Sequence[Family], witness: Witness) -> None:
        self.path = path
        self._rdict = rdict
        self._witness = witness
        self._manifest = manifest_number(path)
        self._manifest_bytes = self._manifest_size()
        self._manifest_bytes_seen = self._manifest_bytes
        self.families: dict[str, Rdict] = {f.name: rdict.get_column_family(f.name) for f in families}
        self.handles: dict[str, ColumnFamily] = {
            f.name: rdict.get_column_family_handle(f.name) for f in families
        }
        self._unsynced = WriteOptions()
        self._failure: OSError | None = None
        self._is_open = True

    @classmethod
    def open(
        cls,
        path: str,
        families: Sequence[Family],
        *,
        create: bool,
        cache_bytes: int,
        on_verified: OnVerified = unheard,
    ) -> Database:
        """Open for reading and writing.

        create: the database may be missing or half made (nothing was ever acknowledged from it); it is finished.
        on_verified: every row is read first and its checksum verified; this is told how far it got.
        Raises StoreDamaged when anything that was synced is missing or cannot be read; then nothing was changed.
        """
        cache = Cache(cache_bytes)
        if not create or _was_synced(path):
            inspect(path, families, cache, on_verified=on_verified)
            create = False
        elif not has_database(path):
            os.makedirs(path, exist_ok=True)
            Witness.create(path)
        try:
            witness = Witness.open(path)
            rdict = open_rdict(path, families, cache, create=create)
        except StoreDamaged as error:
            raise damaged(error.text) from error
        database = cls(path, rdict, families, witness)
        # Opening wrote a new manifest and dropped the logs it replayed: from here on the old one would be damage.
        database._testify(database.note)
        database.sync_witness()
        return database

    @property
    def note(self) -> bytes:
        """What was noted at the last sync."""
        return self._witness.sighting.note

    @property
    def failure(self) -> OSError | None:
        """Why nothing is written any more."""
        return self._failure

    def get(self, family: Rdict, key: bytes) -> bytes | None:
        try:
            return cast("bytes | None", family.get(key))
        except Exception as error:
            raise mapped(error, self.path) from error

    def get_many(self, family: Rdict, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            return cast("list[bytes | None]", family.get(list(keys)))
        except Exception as error:
            raise mapped(error, self.path) from error

    def scan(
        self, family: Rdict, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[Row]:
        """Rows with start <= key < stop; raises StoreDamaged where a block cannot be read, and never ends early."""
        found = rows.descending if reverse else rows.ascending
        try:
            yield from found(family, start, stop)
        except Exception as error:
            raise mapped(error, self.path) from error

    def batch(self) -> WriteBatch:
        """An empty batch: `put(key, value, handle)`, `delete(key, handle)`, `delete_range(start, stop, handle)`."""
        return WriteBatch(raw_mode=True)

    def write(self, batch: WriteBatch) -> None:
        """Apply all of it or nothing; durable only after a sync. Raises OSError, and from then on always."""
        self._check_usable()
        try:
            self._rdict.write(batch, self._unsynced)
        except Exception as error:
            raise self._failed(error) from error

    def write_synced(self, batch: WriteBatch, note: bytes) -> None:
        """Apply all of it and return once it, and all before it, is on the disk.

        note: given to the witness (at most `witness.NOTE_BYTES_MAX` bytes); the next start finds it in `note`.
        """
        # Two calls: `Rdict.write` keeps the interpreter to itself, `flush_wal` does not. With the sync inside the write
        # the event loop stood still for as long as the disk took, whatever thread it was on.
        self.write(batch)
        self.sync(note)

    def sync(self, note: bytes | None = None) -> None:
        """Return once everything written before is on the disk. Raises OSError, and from then on always.

        note: as in `write_synced`; None repeats the last one.
        """
        self._check_usable()
        try:
            self._rdict.flush_wal(True)
        except Exception as error:
            raise self._failed(error) from error
        self._testify(self.note if note is None else note)

    def sync_witness(self) -> None:
        """Make the witness survive a loss of power, too. Before this it survives the death of the process.

        To be called about once a second while there are writes.
        """
        self._check_usable()
        try:
            # A manifest that grew may not be synced yet; what it had grown to the last time is by now.
            self._manifest_bytes, self._manifest_bytes_seen = self._manifest_bytes_seen, self._manifest_size()
            self._witness.fsync()
        except OSError as error:
            raise self._failed(error) from error

    def checkpoint(self, directory: str) -> None:
        """Make a copy that opens by itself; made beside and renamed, so that it is there whole or not at all."""
        if os.path.exists(directory):
            raise FileExistsError(
                errno.EEXIST, "a checkpoint needs a directory that does not exist yet", directory
            )
        beside = directory.rstrip("/") + ".new"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            # A checkpoint would do it, too, but with the interpreter to itself all the while; what it finds flushed it
            # only links.
            for family in self.families.values():
                family.flush()
            Checkpoint(self._rdict).create_checkpoint(beside)
        except Exception as error:
            raise mapped(error, self.path) from error
        Witness.create(beside)
        witness = Witness.open(beside)
        try:
            number = manifest_number(beside)
            size = manifest_path(beside, number).stat().st_size
            witness.write(Sighting(self._rdict.latest_sequence_number(), number, size, self.note))
            witness.fsync()
        finally:
            witness.close()
        os.rename(beside, directory)
        sync_directory(Path(directory).parent)

    def property_sum(self, name: str) -> int:
        """A number RocksDB keeps for each family, summed over them."""
        return sum(family.property_int_value(name) or 0 for family in self.families.values())

    def close(self) -> None:
        """Sync and let go. Calling it twice is allowed; after a failure it only lets go."""
        if not self._is_open:
            return
        try:
            if self._failure is None:
                self.sync()
                self.sync_witness()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go without a sync and without a word to the witness, after a failure or damage."""
        if not self._is_open:
            return
        self._is_open = False
        self.handles.clear()
        for family in self.families.values():
            family.close()
        self._witness.close()
        try:
            self._rdict.close()
        except Exception as error:
            if self._failure is None:
                raise mapped(error, self.path) from error

    def _testify(self, note: bytes) -> None:
        sequence = self._rdict.latest_sequence_number()
        try:
            self._witness.write(Sighting(sequence, self._manifest, self._manifest_bytes, note))
        except OSError as error:
            raise self._failed(error) from error

    def _manifest_size(self) -> int:
        try:
            return manifest_path(self.path, self._manifest).stat().st_size
        except FileNotFoundError:
            # RocksDB begins a new one when it grows over its limit (1 GiB).
            self._manifest, self._manifest_bytes = manifest_number(self.path), 0
            return 0

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise OSError(
                self._failure.errno, f"nothing is written after a failure: {self._failure}", self.path
            )
        if not self._is_open:
            raise OSError(errno.EBADF, "the database is closed", self.path)

    def _failed(self, error: Exception) -> OSError:
        """A write or sync that failed may be half on the disk, and is never tried again: refuse all that follow."""
        found = mapped(error, self.path)
        self._failure = found if isinstance(found, OSError) else OSError(errno.EIO, str(found), self.path)
        return self._failure


def _was_synced(path: str) -> bool:
    """Whether something was ever synced here: then there is something to lose, whatever the caller believes."""
    return has_database(path) and read_witness(path)[1].sequence > 0
