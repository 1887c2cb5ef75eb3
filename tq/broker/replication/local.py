"""The log of one node: the journal without consensus. What is synced is committed.

One entry is in flight at a time; everything that arrives meanwhile is the proposer's to gather into the next. The
fsync runs on the disk thread, so the loop goes on.

With `relaxed_ms` an entry is committed once the operating system has it, and synced at most that much later: the
death of the process loses nothing, a loss of power up to relaxed_ms of acknowledged entries. It must be asked for.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop
from collections.abc import Callable

from tq.broker.measures import LogMeasures
from tq.broker.replication.disk import Disk, done_on
from tq.broker.replication.journal import Journal
from tq.broker.replication.log import OnCommit, OnFatal
from tq.broker.replication.records import Entry, Link
from tq.errors import BrokerUnavailable, OutcomeUnknown, StoreDamaged, Unsupported

TERM = 1
"""Nobody votes here; entries carry this term, so that the journal can become a cluster's."""
WITNESS_SYNC_SECONDS = 1.0
REPLAY_ENTRIES_MAX = 256
REPLAY_BYTES_MAX = 4 * 1024**2
"""How much is read at once at start."""


class LocalLog:
    """Serves `replication.log.ReplicatedLog`. The journal is opened and closed by its owner."""

    def __init__(
        self, journal: Journal, disk: Disk, on_fatal: OnFatal, *, relaxed_ms: int | None = None
    ) -> None:
        """relaxed_ms: longest time an acknowledged entry may stay unsynced; None = each is synced before."""
        self._journal = journal
        self._disk = disk
        self._on_fatal = on_fatal
        self._relaxed_ms = relaxed_ms
        self._loop: AbstractEventLoop | None = None
        self._on_commit: OnCommit | None = None
        self._in_flight: tuple[int, bytes, Future[int]] | None = None
        self._timers: dict[Callable[[], None], TimerHandle] = {}
        self._refusal: str = "the log is not started"

    @property
    def first_index(self) -> int:
        return self._journal.first_index

    @property
    def last_index(self) -> int:
        return self._journal.last_index

    @property
    def is_leader(self) -> bool:
        """Always, once started: there is nobody else."""
        return not self._refusal

    def measures(self) -> LogMeasures:
        """What there is to measure; without a cluster there are no terms and no followers."""
        under_way = 0 if self._in_flight is None else 1
        return LogMeasures(0, self.is_leader, self.last_index - under_way, {}, self._journal.syncs)

    async def start(self, after: int, on_commit: OnCommit) -> None:
        self._loop = get_running_loop()
        self._check_fits(after)
        index = max(after, self._journal.first_index - 1)
        while index < self._journal.last_index:
            for entry in await self._read(index + 1):
                on_commit(entry.index, entry.data)
                index = entry.index
        self._journal.set_relaxed(self._relaxed_ms is not None)
        await done_on(self._disk, self._journal.sync)
        self._on_commit = on_commit
        self._refusal = ""

    def propose(self, data: bytes) -> Future[int]:
        assert self._loop is not None, "start the log before proposing to it"
        assert self._in_flight is None, "one entry may be in flight at a time"
        future: Future[int] = self._loop.create_future()
        if self._refusal:
            future.set_exception(BrokerUnavailable(self._refusal))
            return future
        index = self._journal.append(TERM, data)
        self._in_flight = (index, data, future)
        job = self._journal.sync if self._relaxed_ms is None else self._journal.write
        self._disk.call(job, self._written)
        return future

    def release(self, upto: int) -> None:
        self._journal.trim(upto)

    async def close(self) -> None:
        """Wait for the entry in flight and sync. Calling it twice is allowed."""
        if self._loop is None:
            return
        was_refusing, self._refusal = self._refusal, self._refusal or "the broker is stopping"
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if was_refusing:
            return
        await done_on(self._disk, lambda: None)
        if self._relaxed_ms is not None:
            self._journal.set_relaxed(False)
        await done_on(self._disk, self._journal.sync)

    def _check_fits(self, after: int) -> None:
        """The store is at entry `after`: the journal must hold what comes next, or end there."""
        journal = self._journal
        if journal.term:
            raise Unsupported(
                "the journal is that of a cluster's node, and alone it would acknowledge what the others never hear of: "
                "set raft.enabled to true, or use another data directory"
            )
        if after < journal.first_index - 1:
            raise StoreDamaged(
                f"the journal begins with entry {journal.first_index} and the store ends with entry {after}: "
                "what was between is lost; restore a backup, or let the node be rebuilt from its peers"
            )
        if after <= journal.last_index:
            return
        if not journal.is_relaxed:
            raise StoreDamaged(
                f"the journal ends with entry {journal.last_index} and the store with entry {after}, though every "
                "entry was synced first: restore a backup, or let the node be rebuilt from its peers"
            )
        # A loss of power under `relaxed` took entries from the journal that the store had synced: nothing of them
        # is missing, but their numbers are taken.
        journal.reset(Link(after, TERM, 0))

    def _written(self, result: object) -> None:
        """On the loop: the disk has the entry in flight, or failed to take it."""
        assert self._in_flight is not None
        assert self._on_commit is not None
        index, data, future = self._in_flight
        self._in_flight = None
        if isinstance(result, Exception):
            self._refusal = f"the journal failed: {result}"
            if not future.done():
                future.set_exception(
                    OutcomeUnknown(f"the disk failed while entry {index} was written: {result}")
                )
            self._on_fatal(result)
            return
        self._on_commit(index, data)
        if not future.done():
            future.set_result(index)
        if self._relaxed_ms is not None:
            self._later(self._relaxed_ms / 1000, self._journal.sync)
        self._later(WITNESS_SYNC_SECONDS, self._journal.sync_witness)

    def _later(self, seconds: float, job: Callable[[], None]) -> None:
        """Run job on the disk thread so much later, unless that is due already."""
        if job not in self._timers and not self._refusal:
            assert self._loop is not None
            self._timers[job] = self._loop.call_later(seconds, self._due, job)

    def _due(self, job: Callable[[], None]) -> None:
        del self._timers[job]
        self._disk.run(job)

    async def _read(self, start: int) -> list[Entry]:
        return await done_on(
            self._disk,
            lambda: self._journal.read(start, entries_max=REPLAY_ENTRIES_MAX, bytes_max=REPLAY_BYTES_MAX),
        )
