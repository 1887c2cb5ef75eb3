"""Dead letters as rows, each with the fingerprint of what went wrong; read in steps that are short on the disk thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from heapq import merge
from itertools import islice
from typing import NamedTuple

from tq.broker.backend import Peer
from tq.broker.engine.entries import unpack_ended
from tq.broker.engine.failures import telling_line
from tq.broker.engine.lists import SEQ_MAX, bucket_rows
from tq.broker.engine.reads import Reads
from tq.broker.machine.state import CLASS_OF_STATE, State
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.errors import TqError
from tq.task import DEAD_LETTER

STEP_ROWS = 400
"""Read at once: a few milliseconds."""
ERROR_CHARS_MAX = 300
REASONS_MAX = 10_000
"""Different reasons whose fingerprint is remembered."""

_LAST_TIME = "; the last time: "
_VARYING = re.compile(
    r"'[^']*'|\"[^\"]*\"|`[^`]*`"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{5,}\b|[0-9]+(?:[.,:][0-9]+)*"
)
"""What differs between two errors that are the same: quoted words, ids, addresses, numbers."""


class DeadRow(NamedTuple):
    seq: int
    task_id: bytes
    kind: int
    ended_ms: int
    fingerprint: str
    error: str


class DeadRows:
    def __init__(self, store: Store, reads: Reads, state: State) -> None:
        self._store = store
        self._reads = reads
        self._state = state
        # Only the disk thread touches it.
        self._fingerprints: dict[tuple[int, str], tuple[str, str]] = {}

    def kinds(self, task_type: str, queue: str) -> tuple[list[int], int]:
        """(numbers of the kinds that have any, how many they have)"""
        kinds = [
            kind
            for kind in self._state.kinds.values()
            if kind.counts[DEAD_LETTER]
            and (not task_type or kind.task_type == task_type)
            and (not queue or kind.queue == queue)
        ]
        return [kind.number for kind in kinds], sum(kind.counts[DEAD_LETTER] for kind in kinds)

    def step(
        self,
        kinds: Sequence[int],
        cursor: int,
        done: Callable[[list[DeadRow] | TqError], None],
        peer: Peer | None,
    ) -> None:
        """Give `done` the next STEP_ROWS rows below the cursor (0 = the newest), fewer at the end only.

        peer: who asks; None = the broker itself, which nothing takes the question back from.
        """

        def read(rows: list[DeadRow] | Exception) -> None:
            if isinstance(rows, Exception) and not isinstance(rows, TqError):
                rows = TqError(f"reading the store failed: {rows}")
            done(rows)

        self._reads.call(lambda: self._read(kinds, cursor or SEQ_MAX), read, peer)

    def walk(
        self,
        kinds: Sequence[int],
        cursor: int,
        take: Callable[[list[DeadRow] | TqError], bool],
        peer: Peer | None,
    ) -> None:
        """Give `take` the rows below the cursor, step by step, as long as it wants more."""

        def stepped(rows: list[DeadRow] | TqError) -> None:
            if take(rows) and isinstance(rows, list):
                self.walk(kinds, rows[-1].seq, take, peer)

        self.step(kinds, cursor, stepped, peer)

    def _read(self, kinds: Sequence[int], below: int) -> list[DeadRow]:
        """On the disk thread."""
        state_class = CLASS_OF_STATE[DEAD_LETTER]
        scans = [bucket_rows(self._store, state_class, kind, below) for kind in kinds]
        index = list(islice(merge(*scans, reverse=True), STEP_ROWS))
        values = self._store.get_many(Table.ENDED, [task_id for _, task_id in index])
        rows = []
        for (seq, task_id), value in zip(index, values, strict=True):
            # Index and record are written together, so what one of them has the other has.
            assert value is not None, f"an index row without a record: task number {seq}"
            record = unpack_ended(value)
            told = self._fingerprint(record.kind, record.reason)
            rows.append(DeadRow(seq, task_id, record.kind, record.ended_ms, *told))
        return rows

    def _fingerprint(self, kind: int, reason: str) -> tuple[str, str]:
        """(fingerprint, the error in a line)"""
        known = self._fingerprints.get((kind, reason))
        if known is None:
            if len(self._fingerprints) >= REASONS_MAX:
                self._fingerprints.clear()
            error = telling_line(reason.partition(_LAST_TIME)[2] or reason)[:ERROR_CHARS_MAX]
            known = self._fingerprints[kind, reason] = (fingerprint_of(kind, error), error)
        return known


def fingerprint_of(kind: int, error: str) -> str:
    """16 hexadecimal digits, the same for errors of a kind that differ only in numbers, ids and quoted words."""
    text = f"{kind} {_VARYING.sub('#', error)}"
    return blake2b(text.encode(), digest_size=8).hexdigest()
