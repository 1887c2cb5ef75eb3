"""An entry, applied: through the machine, into one write batch, and from time to time synced and trimmed.

The write batch is handed to the disk thread when the next entry is on its way to the disk, or a moment later when
there is none: the answers need not wait for it. Until it has arrived in the store, the outcome stands in for it: the
machine's look at ended tasks and the delivery's look at payloads ask what is under way first, then the store.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Sequence

from tq.broker.engine.entries import pack_writes, unpack_ended, unpack_metadata, unpack_row
from tq.broker.machine.commands import Command
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import EndedRecord
from tq.broker.machine.machine import Machine
from tq.broker.machine.restore import RESTORE_ORDER
from tq.broker.storage import keys
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.errors import StoreDamaged

KEEP_SECONDS = 0.002
"""The longest a write batch is kept back for the next entry to go first."""
SYNC_ENTRIES = 5_000
"""Entries applied before the store is synced and the log behind it may be trimmed."""


class Written:
    """The store as it will be when every batch under way has been written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: deque[Outcome] = deque()

    def begin(self, outcome: Outcome) -> None:
        self._under_way.append(outcome)

    def end(self) -> None:
        """The oldest batch under way has been written."""
        self._under_way.popleft()

    def get(self, task_id: bytes) -> EndedRecord | None:
        """An ended task: the machine's archive."""
        for outcome in reversed(self._under_way):
            if task_id in outcome.archived:
                return outcome.archived[task_id]
        value = self._store.get(Table.ENDED, task_id)
        return None if value is None else unpack_ended(value)

    def known(self, task_ids: Sequence[bytes]) -> list[bytes]:
        """Those of task_ids that an ended task has, or had until a moment ago."""
        if not task_ids:
            return []
        values = self._store.get_many(Table.ENDED, task_ids)
        found = [task_id for task_id, value in zip(task_ids, values, strict=True) if value is not None]
        for outcome in self._under_way:
            if outcome.archived:
                found.extend(task_id for task_id in task_ids if task_id in outcome.archived)
        return found

    def payloads(self, seqs: list[int]) -> dict[int, bytes]:
        """seq -> payload of live tasks."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for seq in seqs:
            for outcome in self._under_way:
                if seq in outcome.payloads:
                    found[seq] = outcome.payloads[seq]
                    break
            else:
                missing.append(seq)
        if missing:
            values = self._store.get_many(Table.PAYLOAD, [keys.seq_key(seq) for seq in missing])
            for seq, value in zip(missing, values, strict=True):
                if value is None:
                    raise StoreDamaged(f"the payload of task number {seq} is gone; run `tq-admin verify`")
                found[seq] = value
        return found

    def metadata(self, seq: int) -> dict[str, str]:
        for outcome in self._under_way:
            if seq in outcome.metadata:
                return outcome.metadata[seq]
        return unpack_metadata(self._store.get(Table.EXTRA, keys.seq_key(seq)))


class Applier:
    def __init__(
        self,
        store: Store,
        disk: DiskThread,
        loop: AbstractEventLoop,
        *,
        on_synced: Callable[[int], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """on_synced: told the index up to which the store is durable."""
        self.written = Written(store)
        self.machine = Machine(self.written)
        self._store = store
        self._disk = disk
        self._loop = loop
        self._kept: list[Outcome] = []
        self._timer: TimerHandle | None = None
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
        if not self._is_live:
            # While the log is replayed entries follow each other faster than the disk thread turns.
            self._store.write(pack_writes(outcome.writes))
            return outcome
        self.written.begin(outcome)
        self._kept.append(outcome)
        if self._timer is None:
            self._timer = self._loop.call_later(KEEP_SECONDS, self.hand_over)
        if index - self._synced >= SYNC_ENTRIES:
            self.sync()
        return outcome

    def hand_over(self) -> None:
        """Give the disk thread every batch that was kept back. What is given to it after this sees them written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kept, self._kept = self._kept, []
        for outcome in kept:
            self._disk.call(self._store.prepare(pack_writes(outcome.writes)), self._ended)

    def _ended(self, result: None | Exception) -> None:
        if isinstance(result, Exception):
            self._on_fatal(result)
            return
        self.written.end()

    def go_live(self) -> None:
        """The log is replayed; from here on batches are written on the disk thread."""
        self._is_live = True

    def sync(self) -> None:
        """Begin making the store durable up to the entry applied last; on_synced tells when it is."""
        index = self.machine.state.index
        if self._is_syncing or index == self._synced:
            return
        self._is_syncing = True
        self.hand_over()

        def synced(result: None | Exception) -> None:
            self._is_syncing = False
            if isinstance(result, Exception):
                self._on_fatal(result)
                return
            self._synced = index
            self._on_synced(index)

        self._disk.call(self._store.sync, synced)
