"""The bare library, one node at a time, with its messages given and taken by hand."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pysyncobj.syncobj as syncobj
from pysyncobj import SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from tests.sim.library import private, taken_over

NO_OP, MEMBERSHIP, VERSION = b"\1", b"\2", b"\3"
"""First bytes of the library's own commands."""
NEVER = 10**9


class HandTransport(Transport):  # type: ignore[misc]
    """out: what the node sent, as (peer, message)."""

    def __init__(self) -> None:
        super().__init__(None, None, None)
        self.out: list[tuple[str, dict[str, Any]]] = []

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        self.out.append((node.id, message))
        return True


class Bare(syncobj.SyncObj):  # type: ignore[misc]
    """data: the replicated state, a list of what was put."""

    def __init__(self, me: str, others: str, **settings: Any) -> None:
        self.wire = HandTransport()
        defaults: dict[str, Any] = {
            "autoTick": False,
            "raftMinTimeout": 0.4,
            "raftMaxTimeout": 1.4,
            "logCompactionMinEntries": NEVER,
            "logCompactionMinTime": NEVER,
            "useFork": False,
        }
        conf = SyncObjConf(**(defaults | settings))
        super().__init__(Node(me), [Node(other) for other in others], conf, transport=self.wire)
        self.data: list[Any] = []

    @syncobj.replicated  # type: ignore[untyped-decorator]
    def put(self, item: Any) -> Any:
        self.data.append(item)
        return item

    def hear(self, peer: str, message: dict[str, Any]) -> None:
        self.wire._onMessageReceived(Node(peer), message)

    def connect(self, peers: str) -> None:
        for peer in peers:
            self.wire._onNodeConnected(Node(peer))

    def look(self, name: str) -> Any:
        """A private attribute."""
        return private(self, name)

    @property
    def entries(self) -> list[tuple[int, int]]:
        """(index, term) of every entry held."""
        return [(entry[1], entry[2]) for entry in self.look("raftLog")[:]]

    @property
    def end(self) -> tuple[int, int]:
        return self.entries[-1]


class Time:
    """The library's clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def tick(self, node: Bare, times: int = 1, *, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.now += seconds
            node.doTick()

    def elect(self, me: str, others: str, voters: str, **settings: Any) -> Bare:
        """A node that was voted for by these."""
        node = Bare(me, others, **settings)
        node.connect(others)
        node.doTick()
        self.tick(node, seconds=2.0)
        for voter in voters:
            node.hear(voter, vote(node.raftCurrentTerm))
        return node

    def alone(self, **settings: Any) -> Bare:
        """A cluster of one, leading."""
        node = Bare("S", "", **settings)
        self.tick(node, 3, seconds=2.0)
        return node


@contextmanager
def bare_library() -> Iterator[Time]:
    time = Time()
    with taken_over(lambda: time.now, Random(1)):
        yield time


def command(item: Any) -> bytes:
    """A replicated call as the library keeps it."""
    return b"\0" + pickle.dumps((0, (item,)), 2)


def append(
    term: int, prev: int, prev_term: int, entries: list[tuple[bytes, int, int]], commit: int
) -> dict[str, Any]:
    return {
        "type": "append_entries",
        "term": term,
        "prevLogIdx": prev,
        "prevLogTerm": prev_term,
        "entries": entries,
        "commit_index": commit,
    }


def chunk(term: int, commit: int, data: bytes, *, is_first: bool, is_last: bool) -> dict[str, Any]:
    """A piece of a dump."""
    return {
        "type": "append_entries",
        "term": term,
        "commit_index": commit,
        "serialized": (data, is_first, is_last),
    }


def ack(next_index: int) -> dict[str, Any]:
    return {"type": "next_node_idx", "next_node_idx": next_index, "reset": False, "success": True}


def vote(term: int) -> dict[str, Any]:
    return {"type": "response_vote", "term": term}


def dump_of(time: Time, items: int) -> tuple[bytes, Bare]:
    """A dump of a node that holds so many items, and the node."""
    donor = time.alone()
    for item in range(items):
        donor.put(item)
    time.tick(donor, 3, seconds=0.05)
    donor.forceLogCompaction()
    time.tick(donor, 2)
    data: bytes = donor.look("serializer")._Serializer__inMemorySerializedData
    return data, donor
