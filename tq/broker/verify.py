"""Looking through a data directory, a backup or a checkpoint from end to end, without changing it.

A broker that starts stops at the first damage; this goes on and lists what it finds. A directory in use is refused:
what is half written would look like damage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rocksdict import Cache, Rdict

from tq.broker.engine.entries import unpack_row
from tq.broker.machine.machine import MACHINE_KEY
from tq.broker.replication import journal, records
from tq.broker.rocksdb import rows
from tq.broker.rocksdb.files import has_database
from tq.broker.rocksdb.inspection import inspected
from tq.broker.rocksdb.opening import mapped
from tq.broker.rocksdb.options import Family
from tq.broker.rocksdb.witness import read_witness
from tq.broker.storage import data_dir, rocks
from tq.broker.storage.keys import name_key
from tq.broker.tables import Table
from tq.errors import BadRequest, StoreDamaged

CACHE_BYTES = 16 * 1024**2

OnProgress = Callable[[str, int], None]
"""Told what is being read ("store/payload") and how many rows of it were found good so far."""


class Report(NamedTuple):
    """What a directory holds, and what is wrong with it.

    rows: of all tables. applied_index: the entry the store ends with; None when there is no readable store.
    first_index, last_index: what the journal holds; None when there is no readable journal. damage: one sentence
    each, empty = everything is there and can be read.
    """

    rows: int
    applied_index: int | None
    first_index: int | None
    last_index: int | None
    damage: tuple[str, ...]


def verify_directory(path: str | Path, on_progress: OnProgress) -> Report:
    """Read all of a data directory, a backup or a bare checkpoint.

    Raises BadRequest when it is none of them, BrokerUnavailable when a broker has it open, Unsupported when a newer
    tq wrote it. Reading takes a second or two per gigabyte.
    """
    directory = Path(path).absolute()
    search = _Search(on_progress)
    if has_database(str(directory)):
        search.store(directory)
    elif (directory / data_dir.MARKER_NAME).exists():
        with data_dir.locked(directory):
            search.marker(directory)
            search.store(directory / data_dir.STORE_NAME)
            search.journal(directory / data_dir.JOURNAL_NAME)
    elif (directory / data_dir.STORE_NAME).exists():
        search.store(directory / data_dir.STORE_NAME)
    else:
        raise BadRequest(f"{directory} is neither a data directory nor a backup of tq")
    return search.report()


class _Search:
    """Gathers what is found on the way."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._damage: list[str] = []
        self._rows: dict[str, int] = {}
        self._applied: int | None = None
        self._journal: tuple[int, int] | None = None

    def report(self) -> Report:
        applied, journal_range = self._applied, self._journal
        first, last = journal_range or (None, None)
        if applied is not None and journal_range and not journal_range[0] - 1 <= applied <= journal_range[1]:
            self._damage.append(
                f"the store ends with entry {applied} and the journal holds {first} to {last}: "
                "they do not belong together"
            )
        return Report(sum(self._rows.values()), applied, first, last, tuple(self._damage))

    def marker(self, directory: Path) -> None:
        try:
            data_dir.read_marker(directory)
        except StoreDamaged as error:
            self._found(error)

    def store(self, path: Path) -> None:
        def read(rdict: Rdict) -> None:
            meta = dict(_rows(rdict, Table.META.value, str(path)))
            row = meta.get(name_key(MACHINE_KEY))
            self._applied = 0 if row is None else unpack_row(Table.META, name_key(MACHINE_KEY), row)[1][0]

        self._read(path, rocks.FAMILIES, read)

    def journal(self, path: Path) -> None:
        def read(rdict: Rdict) -> None:
            state_rows = dict(_rows(rdict, journal.STATE, str(path)))
            if journal.STATE_KEY not in state_rows:
                raise StoreDamaged(f"{path} is damaged: the record of term, vote and commit index is missing")
            state = records.unpack_state(state_rows[journal.STATE_KEY])
            note = records.unpack_note(read_witness(str(path))[1].note)
            last = witnessed = state.base
            held = _rows(rdict, journal.ENTRIES, str(path), records.entry_key(last.index + 1))
            for last, _ in records.walk(held, state.base):
                witnessed = last if last.index == note.last.index else witnessed
            self._journal = (state.base.index + 1, last.index)
            records.compare(note, state, witnessed, last)

        self._read(path, journal.FAMILIES, read)

    def _read(self, path: Path, families: Sequence[Family], read: Callable[[Rdict], None]) -> None:
        def count(name: str, rows_read: int) -> None:
            place = f"{path.name}/{name}"
            self._rows[place] = rows_read
            self._on_progress(place, rows_read)

        cache = Cache(CACHE_BYTES)
        try:
            with inspected(str(path), families, cache, on_verified=count, on_damage=self._found) as rdict:
                read(rdict)
        except StoreDamaged as error:
            self._found(error)

    def _found(self, error: StoreDamaged) -> None:
        if error.text not in self._damage:
            self._damage.append(error.text)


def _rows(rdict: Rdict, name: str, path: str, start: bytes = b"") -> list[tuple[bytes, bytes]]:
    family = rdict.get_column_family(name)
    try:
        return list(rows.ascending(family, start))
    except Exception as error:
        raise mapped(error, path) from error
    finally:
        family.close()
