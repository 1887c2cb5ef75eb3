"""What a node's store holds, in one short text per table: equal on nodes that stand at the same entry."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from rocksdict import Cache

from tq.broker.engine.entries import unpack_row
from tq.broker.machine.machine import MACHINE_KEY
from tq.broker.rocksdb import rows
from tq.broker.rocksdb.inspection import inspected
from tq.broker.storage import data_dir, rocks
from tq.broker.storage.keys import name_key
from tq.broker.tables import Table

CACHE_BYTES = 16 * 1024**2
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Digest:
    """index: of the entry the store ends with. tables: name -> hash over its rows in order, as hexadecimal digits."""

    index: int
    tables: dict[str, str]


def digest_directory(path: str | Path) -> Digest:
    """Of a data directory that no broker uses; nothing in it is changed.

    Raises BrokerUnavailable when a broker has it open, StoreDamaged.
    """
    directory = Path(path).absolute()
    with data_dir.locked(directory):
        store = str(directory / data_dir.STORE_NAME)
        with inspected(store, rocks.FAMILIES, Cache(CACHE_BYTES)) as rdict:
            tables, index = {}, 0
            for table in Table:
                family = rdict.get_column_family(table.value)
                found = blake2b(digest_size=DIGEST_BYTES)
                for key, value in rows.ascending(family, b""):
                    for part in (key, value):
                        found.update(len(part).to_bytes(4, "big") + part)
                    if table is Table.META and key == name_key(MACHINE_KEY):
                        index = unpack_row(table, key, value)[1][0]
                family.close()
                tables[table.value] = found.hexdigest()
    return Digest(index, tables)
