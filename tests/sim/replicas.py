"""The library's own object, its state a list of entries, with a transport of the simulator."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pysyncobj.syncobj as syncobj
from pysyncobj import SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from tests.sim.consensus import Surroundings
from tests.sim.journals import StockJournal
from tests.sim.library import private


class NodeId(str):
    """A name whose hash is the same in every process: the library walks over sets of nodes."""

    __slots__ = ()

    def __hash__(self) -> int:
        return crc32(self.encode())


def node_of(name: str) -> Node:
    return Node(NodeId(name))


class StockTransport(Transport):  # type: ignore[misc]
    """Messages as they are; a copy, since a wire would make one."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(None, None, None)
        self._send = around.send

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        return self._send(str(node.id), dict(message))


class Replica(syncobj.SyncObj):  # type: ignore[misc]
    """The replicated state: every entry, in order, with its index."""

    def __init__(self, around: Surroundings, journal: StockJournal, transport: Transport, dump: str) -> None:
        self.on_put: Any = None
        others = [node_of(peer) for peer in around.members if peer != around.node]
        before, syncobj.createJournal = syncobj.createJournal, lambda _: journal
        try:
            super().__init__(node_of(around.node), others, _settings(around, dump), transport=transport)
        finally:
            syncobj.createJournal = before
        self.entries: list[tuple[int, bytes]] = []

    @syncobj.replicated  # type: ignore[untyped-decorator]
    def put(self, data: bytes) -> int:
        index: int = private(self, "raftLastApplied") + 1
        self.entries.append((index, data))
        self.on_put(index, data)
        return index


def _settings(around: Surroundings, dump: str) -> SyncObjConf:
    return SyncObjConf(
        autoTick=False,
        raftMinTimeout=0.4,
        raftMaxTimeout=1.0,
        appendEntriesPeriod=0.1,
        connectionTimeout=3.5,
        leaderFallbackTimeout=2.0,
        appendEntriesUseBatch=not around.options.is_pipelined,
        appendEntriesBatchSizeBytes=around.options.batch_bytes,
        logCompactionMinEntries=around.options.compact_entries,
        logCompactionMinTime=10**9,
        logCompactionBatchSize=600,
        useFork=False,
        fullDumpFile=dump,
        dynamicMembershipChange=True,
    )
