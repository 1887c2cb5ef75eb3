"""A node of pysyncobj 0.3.17 as it is shipped: only sockets, disk, clock and chance are simulated."""

from __future__ import annotations

import os
import tempfile
from asyncio import Future
from collections.abc import Callable
from contextlib import nullcontext
from random import Random
from typing import Any
from zlib import crc32

from pysyncobj.config import FAIL_REASON

from tests.sim.consensus import Consensus, Make, Surroundings
from tests.sim.disk import SimDisk
from tests.sim.journals import Record, StockDrive, StockJournal
from tests.sim.library import private
from tests.sim.replicas import Replica, StockTransport, node_of
from tq.broker.replication.log import OnCommit
from tq.broker.storage.memory import MemoryStore
from tq.broker.storage.store import Store
from tq.errors import BrokerUnavailable, NotLeader, OutcomeUnknown, TqError, Unsupported

TICK_SECONDS = 0.02
DEADLINE_SECONDS = 4.0
"""After this a caller of the library stops waiting for a callback that may never come."""
WRITE_BACK_SECONDS = (1.0, 5.0)
_DEFINITE = frozenset(
    {FAIL_REASON.QUEUE_FULL, FAIL_REASON.MISSING_LEADER, FAIL_REASON.DISCARDED, FAIL_REASON.NOT_LEADER}
    | {FAIL_REASON.REQUEST_DENIED}
)


class StockLog:
    """`replication.log.ReplicatedLog` over the library's own promises."""

    def __init__(self, around: Surroundings, replica: Replica) -> None:
        self._around = around
        self._replica = replica
        self._on_commit: OnCommit | None = None
        self._fed = 0
        self._in_flight: tuple[bytes, Future[int]] | None = None
        replica.on_put = self._put

    @property
    def first_index(self) -> int:
        return int(private(self._replica, "raftLog")[0][1])

    @property
    def last_index(self) -> int:
        return int(private(self._replica, "raftLog")[-1][1])

    @property
    def is_leader(self) -> bool:
        return bool(self._replica._isLeader())

    async def start(self, after: int, on_commit: OnCommit) -> None:
        self._on_commit = on_commit
        self.feed()

    def propose(self, data: bytes) -> Future[int]:
        future: Future[int] = self._around.loop.create_future()
        if not self.is_leader:
            future.set_exception(NotLeader())
            return future
        self._in_flight = (data, future)
        self._around.loop.call_later(DEADLINE_SECONDS, _give_up, future)

        def ended(index: int | None, reason: int) -> None:
            if future.done():
                return
            if reason == FAIL_REASON.SUCCESS:
                future.set_result(index or 0)
            elif reason in _DEFINITE:
                future.set_exception(BrokerUnavailable(f"the library says {reason}"))
            else:
                future.set_exception(OutcomeUnknown(f"the library says {reason}"))

        self._replica.put(data, callback=ended)
        return future

    def release(self, upto: int) -> None:
        """The library forgets by itself."""

    async def close(self) -> None:
        return None

    def feed(self) -> None:
        """Hand on what came with a dump; what was applied one by one was handed on already."""
        entries = self._replica.entries
        if self._on_commit is None or not entries or entries[-1][0] <= self._fed:
            return
        for index, data in entries:
            if index > self._fed:
                self._hand_on(index, data)

    def _put(self, index: int, data: bytes) -> None:
        self._around.watcher.applied(self._around.node, index, crc32(data))
        if self._on_commit is not None and index > self._fed:
            self.feed()

    def _hand_on(self, index: int, data: bytes) -> None:
        assert self._on_commit is not None
        self._fed = index
        # The library pickles what it is given: the proposer knows its own entry by identity.
        if self._in_flight is not None and self._in_flight[0] == data:
            data = self._in_flight[0]
        self._on_commit(index, data)


def _give_up(future: Future[int]) -> None:
    if not future.done():
        future.set_exception(OutcomeUnknown("no word from the library"))


class StockNode:
    """Serves `consensus.Consensus`."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.store = MemoryStore()
        self._journal = StockJournal(around.drive.journal, self._added, self._cut)
        self._transport = StockTransport(around)
        self._replica = Replica(around, self._journal, self._transport, around.drive.dump_path)
        self.log = StockLog(around, self._replica)
        self._lead: Callable[[bool], None] = lambda _: None

    @property
    def term(self) -> int:
        return int(self._replica.raftCurrentTerm)

    @property
    def is_leader(self) -> bool:
        return self.log.is_leader

    @property
    def commit_index(self) -> int:
        return int(self._replica.raftCommitIndex)

    @property
    def told_index(self) -> int:
        return self.commit_index

    @property
    def members(self) -> frozenset[str]:
        return frozenset({str(node.id) for node in self._replica.otherNodes} | {self._around.node})

    def members_since(self, index: int) -> set[frozenset[str]]:
        return {self.members}

    def matches(self) -> dict[str, int]:
        return {str(node.id): index for node, index in private(self._replica, "raftMatchIndex").items()}

    def term_at(self, index: int) -> int | None:
        return _term_in(self._journal.records, index)

    def durable_term_at(self, index: int) -> int | None:
        """The library promises no more than that the kernel has it."""
        records = self._journal.records
        return 0 if records and index < records[0][1] else _term_in(records, index)

    def admits(self, peer: str, disk: str) -> bool:
        """A node is its address."""
        return True

    def is_whole(self, node: str, disk: str) -> bool:
        return True

    def begin(
        self,
        replace: Callable[[Store], None],
        hand_over: Callable[[], None],
        lead: Callable[[bool], None],
    ) -> None:
        """The library replaces nothing: what a dump brings beyond what was applied is handed on entry by entry."""
        self._lead = lead
        self._tick()
        self._write_back()

    def connected(self, peer: str, epoch: int) -> None:
        self._transport._onNodeConnected(node_of(peer))

    def disconnected(self, peer: str, epoch: int) -> None:
        self._transport._onNodeDisconnected(node_of(peer))

    def receive(self, peer: str, frame: Any, epoch: int) -> None:
        self._transport._onMessageReceived(node_of(peer), frame)
        self.log.feed()
        self._lead(self.is_leader)

    def compact(self) -> None:
        self._replica.forceLogCompaction()

    def transfer(self, peer: str) -> None:
        self._replica.transferLeadership(node_of(peer))

    def remove(self, peer: str) -> None:
        self._replica.removeNodeFromCluster(node_of(peer))

    def add(self, peer: str) -> None:
        self._replica.addNodeToCluster(node_of(peer))

    def read_index(self, done: Callable[[int | TqError], None]) -> None:
        """The library has no such thing: its reads are whatever the state is."""
        done(Unsupported())

    def _tick(self) -> None:
        self._around.loop.call_later(TICK_SECONDS, self._tick)
        self._replica.doTick()
        self.log.feed()
        self._lead(self.is_leader)

    def _write_back(self) -> None:
        self._around.drive.journal.write_back()
        self._around.loop.call_later(self._around.rng.uniform(*WRITE_BACK_SECONDS), self._write_back)

    def _added(self, record: Record, previous_term: int) -> None:
        command, index, term = record
        self._around.watcher.added(self._around.node, index, term, previous_term, crc32(command))

    def _cut(self, index: int) -> None:
        applied = int(private(self._replica, "raftLastApplied"))
        self._around.watcher.cut(self._around.node, index, self.commit_index, applied)


def _term_in(records: list[Record], index: int) -> int | None:
    if not records or not records[0][1] <= index <= records[-1][1]:
        return None
    return records[index - records[0][1]][2]


class Drive:
    """The journal, and the directory the library dumps its state into."""

    def __init__(self, disk: SimDisk) -> None:
        self.journal = StockDrive()
        self._directory = tempfile.TemporaryDirectory(prefix="tq-sim-")
        self.dump_path = os.path.join(self._directory.name, "dump")
        disk.contents.append(self.journal)

    def close(self) -> None:
        self._directory.cleanup()

    def spoil(self, how: str, rng: Random) -> bool:
        """There is nothing in it that would notice."""
        return False


def _nothing(raft: Consensus, target: str, frame: Any) -> str:
    """The library makes no promise about what is synced, so there is none to break."""
    return ""


def _drive(disk: SimDisk, disk_id: str) -> Drive:
    return Drive(disk)


STOCK = Make("stock", _drive, StockNode, _nothing, lambda _: nullcontext(), is_fail_stop=False)
