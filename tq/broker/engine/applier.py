"""An entry, applied: through the machine, into a write batch, and from time to time synced and trimmed.

What entries write is kept for a moment and goes to the disk thread as one batch for several of them, right behind an
entry that is on its way to the disk: the answers need not wait for it, and a small entry costs no hop to the thread
of its own. Until a batch has arrived in the store it stands in for it: the machine's look at ended tasks and the
delivery's look at payloads ask what is under way first, then the store.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

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
from tq.task import TaskSpec

KEEP_SECONDS = 0.008
"""From this age on what is kept goes with the next entry."""
KEEP_ROWS = 512
"""So many rows go with the next entry at once: preparing them holds the loop for about a millisecond."""
KEEP_SECONDS_MAX = 0.020
"""The longest anything is kept when there is no next entry."""
ROWS_PER_LAP = 128
"""Rows read between two pauses: a millisecond's work."""
LAP_PAUSE_SECONDS = 0.0001
"""Any sleep at all gives the processor away, to whoever waits for it."""
SYNC_ENTRIES = 5_000
"""Entries applied before the store is synced and the log behind it may be trimmed."""


Row: TypeAlias = tuple[Table, Any, Any]
"""table, key, record; as `machine.effects.Outcome.writes`. META's row ends with the last sequence given out."""


class _Batch(NamedTuple):
    """What entries wrote, in order, and how it is looked up before it is in the store. The last row is META's."""

    rows: list[Row]
    payloads: dict[int, bytes]
    metadata: dict[int, dict[str, str]]
    archived: dict[bytes, EndedRecord | None]


class Written:
    """The store as it will be when every batch has been written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Oldest first; the last one still takes entries when _is_open.
        self._batches: deque[_Batch] = deque()
        self._is_open = False
        self._is_compactable = False
        self._handed_over_seq = 0

    def begin(self, sequence: int) -> None:
        """The store holds all that was applied so far; sequence: the last one given out."""
        self._handed_over_seq = sequence

    def add(self, outcome: Outcome) -> None:
        """One more entry was applied."""
        if not self._is_open:
            self._is_open = True
            # The outcome's own containers: nobody else changes them.
            self._batches.append(_Batch(outcome.writes, outcome.payloads, outcome.metadata, outcome.archived))
            return
        rows, payloads, metadata, archived = self._batches[-1]
        self._is_compactable = self._is_compactable or bool(outcome.ended)
        rows.pop()  # the index this entry is about to put higher
        rows += outcome.writes
        payloads.update(outcome.payloads)
        metadata.update(outcome.metadata)
        archived.update(outcome.archived)

    @property
    def kept_rows(self) -> int:
        """Rows that wait to be handed over."""
        return len(self._batches[-1].rows) if self._is_open else 0

    def leave(self) -> list[Row]:
        """The rows that wait, to be handed over now; at least one must."""
        self._is_open = False
        rows = self._batches[-1].rows
        if self._is_compactable:
            rows = _compacted(rows, self._handed_over_seq)
        _, _, (_, _, self._handed_over_seq) = rows[-1]
        return rows

    def arrived(self) -> None:
        """The oldest batch is in the store."""
        self._batches.popleft()

    def get(self, task_id: bytes) -> EndedRecord | None:
        """An ended task: the machine's archive."""
        for batch in reversed(self._batches):
            if task_id in batch.archived:
                return batch.archived[task_id]
        value = self._store.get(Table.ENDED, task_id)
        return None if value is None else unpack_ended(value)

    def known(self, task_ids: Sequence[bytes]) -> list[bytes]:
        """Those of task_ids that an ended task has, or had until a moment ago."""
        if len(task_ids) == 1:
            # By far the most frequent, and a look-up of many costs twice as much for one.
            found = [] if self._store.get(Table.ENDED, task_ids[0]) is None else [task_ids[0]]
        elif task_ids:
            values = self._store.get_many(Table.ENDED, task_ids)
            found = [task_id for task_id, value in zip(task_ids, values, strict=True) if value is not None]
        else:
            return []
        for batch in self._batches:
            if batch.archived:
                found.extend(task_id for task_id in task_ids if task_id in batch.archived)
        return found

    def payloads(self, seqs: list[int]) -> dict[int, bytes]:
        """seq -> payload of live tasks."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for seq in seqs:
            for batch in self._batches:
                if seq in batch.payloads:
                    found[seq] = batch.payloads[seq]
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
        for batch in self._batches:
            if seq in batch.metadata:
                return batch.metadata[seq]
        return unpack_metadata(self._store.get(Table.EXTRA, keys.seq_key(seq)))


def _compacted(rows: list[Row], handed_over_seq: int) -> list[Row]:
    """The last word on every key, without what came and went: a task above handed_over_seq is not in the store yet."""
    last: dict[tuple[Table, Any], Any] = {}
    for table, key, record in rows:
        last[table, key] = record
    live, index = Table.LIVE, Table.INDEX
    return [
        (table, key, record)
        for (table, key), record in last.items()
        if record is not None
        or not ((table is live and key > handed_over_seq) or (table is index and key[2] > handed_over_seq))
    ]


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
        self._kept_since = 0.0
        self._timer: TimerHandle | None = None
        self._on_synced = on_synced
        self._on_fatal = on_fatal
        self._synced = 0
        self._is_syncing = False
        self._is_live = False

    def recover(self, *, gently: bool = False) -> int:
        """Rebuild the machine from the store; the index it stands at.

        gently: with a pause after every millisecond of work, for those who serve meanwhile on the same processors.
        """
        restore = self.machine.restore
        for table in RESTORE_ORDER:
            rows = self._store.scan(table)
            while lap := list(islice(rows, ROWS_PER_LAP)):
                for key, value in lap:
                    restore(table, *unpack_row(table, key, value))
                if gently:
                    time.sleep(LAP_PAUSE_SECONDS)
        self.machine.restored()
        self._synced = self.machine.state.index
        return self._synced

    def apply(self, index: int, now_ms: int, commands: list[Command]) -> Outcome:
        outcome = self.machine.apply(index, now_ms, commands)
        if not self._is_live:
            # While the log is replayed entries follow each other faster than the disk thread turns.
            self._store.write(pack_writes(outcome.writes))
            return outcome
        if not self.written.kept_rows:
            self._kept_since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(KEEP_SECONDS_MAX, self._time_is_up)
        self.written.add(outcome)
        if index - self._synced >= SYNC_ENTRIES:
            self.sync()
        return outcome

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        """How many of these have neither an id nor a unique key that a task has; reads the store for those."""
        heads, unique = self.machine.state.heads, self.machine.state.unique
        fresh = [
            spec.task_id for spec in tasks if spec.task_id not in heads and spec.unique_key not in unique
        ]
        return len(fresh) - len(set(self.written.known(fresh)))

    def proposed(self) -> None:
        """An entry is on its way to the disk, and the loop has time: hand over what is old or large enough."""
        rows = self.written.kept_rows
        if rows >= KEEP_ROWS or (rows and self._loop.time() - self._kept_since >= KEEP_SECONDS):
            self.hand_over()

    def hand_over(self) -> None:
        """Give the disk thread all that was kept back. What is given to it after this sees it written."""
        if self.written.kept_rows:
            self._disk.call(self._store.prepare(pack_writes(self.written.leave())), self._arrived)

    def stop(self) -> None:
        """Hand over the rest; nothing is applied after this."""
        if self._timer is not None:
            self._timer.cancel()
        self.hand_over()

    def _time_is_up(self) -> None:
        self._timer = None
        self.hand_over()

    def _arrived(self, result: None | Exception) -> None:
        if isinstance(result, Exception):
            self._on_fatal(result)
            return
        self.written.arrived()

    def checkpoint(self, directory: str, done: Callable[[int | Exception], None]) -> None:
        """Copy the store to a directory that does not exist yet; done is told the entry the copy ends with."""
        self.hand_over()
        index = self.machine.state.index

        def copied(result: None | Exception) -> None:
            done(index if result is None else result)

        self._disk.call(lambda: self._store.checkpoint(directory), copied)

    def go_live(self) -> None:
        """The log is replayed; from here on batches are written on the disk thread."""
        self._is_live = True
        self.written.begin(self.machine.state.sequence)

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
