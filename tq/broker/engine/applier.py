"""An entry, applied: through the machine, into one write batch, and from time to time synced and trimmed.

The write batch goes to the disk thread, which also writes the log, one job after the other. So by the time an
entry has committed, the batch of the one before it has been written, and the machine's look at ended tasks and
the delivery's look at payloads see everything up to there.
"""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.engine.entries import pack_writes, unpack_ended, unpack_row
from tq.broker.machine.commands import Command
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import EndedRecord
from tq.broker.machine.machine import Machine
from tq.broker.machine.restore import RESTORE_ORDER
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.store import Store
from tq.broker.tables import Table

SYNC_ENTRIES = 5_000
"""Entries applied before the store is synced and the log behind it may be trimmed."""


class StoredArchive:
    """Ended tasks, read from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, task_id: bytes) -> EndedRecord | None:
        value = self._store.get(Table.ENDED, task_id)
        return None if value is None else unpack_ended(value)


class Applier:
    def __init__(
        self,
        store: Store,
        disk: DiskThread,
        *,
        on_synced: Callable[[int], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """on_synced: told the index up to which the store is durable."""
        self.machine = Machine(StoredArchive(store))
        self._store = store
        self._disk = disk
        self._on_synced = on_synced
        self._on_fatal = on_fatal
        self._synced = 0
        self._is_syncing = False
        self._is_live = False

    def recover(self) -> int:
        """Rebuild the machine from the store; the index it stands at."""
        for table in RESTORE_ORDER:
            restore = self.machine.restore
            for key, value in self._store.scan(table):
                restore(table, *unpack_row(table, key, value))
        self.machine.restored()
        self._synced = self.machine.state.index
        return self._synced

    def apply(self, index: int, now_ms: int, commands: list[Command]) -> Outcome:
        outcome = self.machine.apply(index, now_ms, commands)
        batch = pack_writes(outcome.writes)
        if not self._is_live:
            # While the log is replayed entries follow each other faster than the disk thread turns.
            self._store.write(batch)
            return outcome
        self._disk.run(lambda: self._store.write(batch))
        if index - self._synced >= SYNC_ENTRIES:
            self.sync()
        return outcome

    def go_live(self) -> None:
        """The log is replayed; from here on batches are written on the disk thread."""
        self._is_live = True

    def sync(self) -> None:
        """Begin making the store durable up to the entry applied last; on_synced tells when it is."""
        index = self.machine.state.index
        if self._is_syncing or index == self._synced:
            return
        self._is_syncing = True

        def synced(result: None | Exception) -> None:
            self._is_syncing = False
            if isinstance(result, Exception):
                self._on_fatal(result)
                return
            self._synced = index
            self._on_synced(index)

        self._disk.call(self._store.sync, synced)
