"""The proof that acknowledgements follow syncs, from what strace saw on every node.

For each acknowledged task: on a majority of nodes, the journal's write-ahead log took bytes that hold the task's id,
then a sync of that file began and ended, and only then did the leader begin to send the last byte of the answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from struct import Struct
from typing import NamedTuple

import msgpack

from tests.cluster.syscalls import Call
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import FrameReader
from tq.protocol.limits import PEER_FRAME_BYTES_MAX

BLOCK_BYTES = 32 * 1024
FRAGMENT = Struct("<IHB")
"""checksum, length, type: how RocksDB frames its write-ahead log."""


def answered_at(sent: Iterable[Call]) -> dict[int, float]:
    """request id -> when the call began that sent the last byte of its ACK. sent: on one connection, in order."""
    reader, found = FrameReader(PEER_FRAME_BYTES_MAX), dict[int, float]()
    for call in sent:
        for kind, body in reader.feed(call.data):
            if kind == FrameType.ACK:
                found[msgpack.unpackb(body)[0]] = call.began
    return found


def synced_at(seen: Iterable[Call], task_ids: Collection[bytes]) -> dict[bytes, float]:
    """task id -> when the first sync had ended that began after the id was in the journal's write-ahead log.

    seen: the calls of one node, in order; those on other files are passed over.
    """
    logs: dict[str, _Log] = {}
    for call in seen:
        if "/journal/" in call.target and call.target.endswith(".log"):
            logs.setdefault(call.target, _Log()).take(call)
    found: dict[bytes, float] = {}
    for log in logs.values():
        for task_id in task_ids:
            moment = log.synced_at(task_id)
            if moment is not None:
                found[task_id] = min(moment, found.get(task_id, moment))
    return found


class Unproven(NamedTuple):
    """An acknowledgement that left before the syncs it stands for. synced: the nodes that were in time."""

    task_id: bytes
    answered: float
    synced: tuple[str, ...]


def unproven(answered: Mapping[bytes, float], synced: Mapping[str, Mapping[bytes, float]]) -> list[Unproven]:
    """answered: task id -> when its answer left. synced: node -> task id -> when it was on that node's disk."""
    found = []
    for task_id, moment in answered.items():
        in_time = tuple(node for node, disk in synced.items() if disk.get(task_id, moment) < moment)
        if 2 * len(in_time) <= len(synced):
            found.append(Unproven(task_id, moment, in_time))
    return found


class _Log:
    """One write-ahead log: its bytes without RocksDB's frames, and what was synced up to where."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._written: list[tuple[int, float]] = []
        """(bytes of the file, when the call had ended that wrote the last of them), growing in both"""
        self._syncs: list[tuple[float, float]] = []
        """(began, ended)"""
        self._plain: tuple[bytes, list[tuple[int, int]]] | None = None

    def take(self, call: Call) -> None:
        if call.is_sync:
            self._syncs.append((call.began, call.ended))
        elif call.data:
            assert call.name == "write", f"the log is appended to, and here came {call.name}"
            self._content += call.data
            self._written.append((len(self._content), call.ended))
            self._plain = None

    def synced_at(self, task_id: bytes) -> float | None:
        if self._plain is None:
            self._plain = _unframed(bytes(self._content))
            self._syncs.sort()
        content, places = self._plain
        at = content.find(task_id)
        if at < 0:
            return None
        end = at + len(task_id)
        start, place = places[bisect_left(places, (end, 0)) - 1]
        _, written = self._written[bisect_left(self._written, (place + end - start, 0.0))]
        ends = [ended for began, ended in self._syncs[bisect_left(self._syncs, (written, 0.0)) :]]
        return min(ends, default=None)


def _unframed(content: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The payloads of all fragments in a row, and (place in that row, place in the file) of each.

    A record may be cut in the middle of an id where a block ends.
    """
    row, places, at = bytearray(), list[tuple[int, int]](), 0
    while at + FRAGMENT.size <= len(content):
        room = BLOCK_BYTES - at % BLOCK_BYTES
        if room < FRAGMENT.size:
            at += room
            continue
        _, length, _ = FRAGMENT.unpack_from(content, at)
        start = at + FRAGMENT.size
        places.append((len(row), start))
        row += content[start : start + length]
        at = start + length
    return bytes(row), places
