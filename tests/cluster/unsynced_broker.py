"""A broker that says "synced" without a sync: what the proof must notice. `python -m tests.cluster.unsynced_broker`.

It is tq-broker in everything else, its arguments too.
"""

from __future__ import annotations

import sys

from rocksdict import WriteBatch

from tq.broker.main import main
from tq.broker.rocksdb.database import Database


def _write_without_sync(self: Database, batch: WriteBatch, note: bytes) -> None:
    del note
    self.write(batch)


if __name__ == "__main__":
    Database.write_synced = _write_without_sync  # type: ignore[method-assign]
    sys.exit(main())
