"""A broker cut down to its data directory: the real store, journal, log and disk thread, and a toy of a machine.

Entry i puts a row and deletes an older one, so that the state after n entries is known from n alone: what damage or
a crash left can be compared with what must be there. Run as a program it writes until it is killed:

    python -m tests.conformance.small_broker DIR ENTRIES clean|hang
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.storage.data_dir import DataDir
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.keys import name_key, seq_key
from tq.broker.storage.rocks import RocksStore
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.clock import ManualClock

APPLIED = name_key("applied")
KEPT_ROWS = 300
ENTRY_BYTES = 5_000
SYNC_EVERY = 50


def entry_data(index: int) -> bytes:
    return Random(index).randbytes(ENTRY_BYTES)


def apply(store: Store, index: int, data: bytes) -> None:
    assert data == entry_data(index)
    batch: list[tuple[Table, bytes, bytes | None]] = [
        (Table.PAYLOAD, seq_key(index), data),
        (Table.LIVE, seq_key(index), data[:40]),
        (Table.META, APPLIED, seq_key(index)),
    ]
    if index > KEPT_ROWS:
        batch += [(table, seq_key(index - KEPT_ROWS), None) for table in (Table.PAYLOAD, Table.LIVE)]
        batch.append((Table.ENDED, data[:16], seq_key(index)))
    store.write(batch)


def expected(index: int) -> dict[Table, list[tuple[bytes, bytes]]]:
    """What the store must hold after `index` entries."""
    living = range(max(1, index - KEPT_ROWS + 1), index + 1)
    ended = range(KEPT_ROWS + 1, index + 1)
    return {
        Table.PAYLOAD: [(seq_key(i), entry_data(i)) for i in living],
        Table.LIVE: [(seq_key(i), entry_data(i)[:40]) for i in living],
        Table.ENDED: sorted((entry_data(i)[:16], seq_key(i)) for i in ended),
    }


def applied_index(store: Store) -> int:
    return int.from_bytes(store.get(Table.META, APPLIED) or b"", "big")


class SmallBroker:
    """Open it, propose to it, close it; or be killed."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._directory = DataDir.open(path, ManualClock())
        stack.callback(self._directory.close)
        self.store = RocksStore.open(self._directory.store_path, create=self._directory.is_new)
        stack.callback(self.store.close)
        self.journal = Journal.open(self._directory.journal_path, create=self._directory.is_new)
        stack.callback(self.journal.close)
        self._directory.mark_used()
        self.errors: list[BaseException] = []

    async def start(self) -> None:
        self._disk = DiskThread(asyncio.get_running_loop(), self.errors.append)
        self._disk.start()
        self.log = LocalLog(self.journal, self._disk, self.errors.append)
        try:
            await self.log.start(applied_index(self.store), self._apply)
        except BaseException:
            await self._disk.stop()
            raise

    async def written(self) -> None:
        """Return once the store holds every entry that was acknowledged; it lags behind the log otherwise."""
        done = asyncio.get_running_loop().create_future()
        self._disk.call(lambda: None, done.set_result)
        await done

    async def stop(self) -> None:
        await self.log.close()
        await self._disk.stop()

    def _apply(self, index: int, data: bytes) -> None:
        self._disk.run(lambda: apply(self.store, index, data))
        if index % SYNC_EVERY == 0:
            self._disk.call(self.store.sync, lambda result: self._synced(index, result))

    def _synced(self, index: int, result: object) -> None:
        if isinstance(result, Exception):
            self.errors.append(result)
        else:
            self.log.release(index)


def recovered(path: Path) -> tuple[int, dict[Table, list[tuple[bytes, bytes]]]]:
    """Start as a broker does, and return (last index, what the store holds). Raises what refuses the start."""

    async def run() -> int:
        broker = SmallBroker(path, stack)
        await broker.start()
        await broker.stop()
        assert not broker.errors
        held.update({table: list(broker.store.scan(table)) for table in expected(0)})
        return broker.log.last_index

    held: dict[Table, list[tuple[bytes, bytes]]] = {}
    with ExitStack() as stack:
        return asyncio.run(run()), held


async def _main(path: Path, entries: int, ending: str) -> None:
    with ExitStack() as stack:
        broker = SmallBroker(path, stack)
        await broker.start()
        for index in range(broker.log.last_index + 1, broker.log.last_index + 1 + entries):
            assert await broker.log.propose(entry_data(index)) == index
            sys.stdout.write(f"{index}\n")
            sys.stdout.flush()
        if ending == "hang":
            await broker.written()
            sys.stdout.write("written\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
        await broker.stop()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
