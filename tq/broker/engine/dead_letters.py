"""Dead letters by what went wrong: grouped, and found by group.

Nothing is kept per group: the rows are read when somebody asks, the newest first, in steps that hold the disk thread for
a few milliseconds each. The groups of a question are kept for twenty times as long as it took to find them, so that
however many look, and however many dead letters there are, looking costs a twentieth of the time at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from heapq import merge
from itertools import islice
from typing import NamedTuple

from tq.broker.backend import Answer, Peer
from tq.broker.engine.entries import unpack_ended
from tq.broker.engine.failures import telling_line
from tq.broker.engine.lists import SEQ_MAX, bucket_rows
from tq.broker.engine.reads import Reads
from tq.broker.machine.state import CLASS_OF_STATE, State
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.errors import TqError
from tq.task import DEAD_LETTER
from tq.verbs import DeadLetterGroup, DeadLetters, GroupDeadLetters

STEP_ROWS = 400
"""Read at once: two to four milliseconds."""
GROUPED_ROWS_MAX = 50_000
"""Looked at for one question: the newest."""
SEARCHED_ROWS_MAX = 20_000
"""Looked at for one page; when they are through it may be short, and its cursor goes on."""
DISTINCT_MAX = 10_000
"""Groups told apart in one question; what says something new after that is counted as looked at only."""
GROUPS_SHOWN_MAX = 200
ERROR_CHARS_MAX = 300
KEPT_FACTOR = 20
KEPT_MAX = 100
"""Different questions whose answers are kept."""
REASONS_MAX = 10_000
"""Different reasons whose fingerprint is remembered."""

_LAST_TIME = "; the last time: "
_VARYING = re.compile(
    r"'[^']*'|\"[^\"]*\"|`[^`]*`"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{5,}\b|[0-9]+(?:[.,:][0-9]+)*"
)
"""What differs between two errors that are the same: quoted words, ids, addresses, numbers."""


class _Row(NamedTuple):
    seq: int
    task_id: bytes
    kind: int
    ended_ms: int
    fingerprint: str
    error: str


class _Group:
    __slots__ = ("count", "error", "first_ms", "last_ms", "row")

    def __init__(self, row: _Row) -> None:
        self.row = row
        self.count = 0
        self.first_ms = self.last_ms = row.ended_ms


Found = tuple[list[tuple[int, bytes]], int, int]
"""([(seq, task id)], next cursor or 0, how many the group has)"""


class DeadLetterReader:
    def __init__(self, store: Store, reads: Reads, state: State, elapsed_ms: Callable[[], int]) -> None:
        """elapsed_ms: a clock that never goes back."""
        self._store = store
        self._reads = reads
        self._state = state
        self._elapsed_ms = elapsed_ms
        self._kept: dict[GroupDeadLetters, tuple[int, DeadLetters]] = {}
        self._asking: dict[GroupDeadLetters, list[Answer]] = {}
        # Only the disk thread touches it.
        self._fingerprints: dict[tuple[int, str], tuple[str, str]] = {}

    # ------------------------------------------------------------ groups

    def groups(self, peer: Peer, request: GroupDeadLetters, answer: Answer) -> None:
        kept = self._kept.get(request)
        if kept is not None and self._elapsed_ms() < kept[0]:
            answer(kept[1])
            return
        asking = self._asking.setdefault(request, [])
        asking.append(answer)
        if len(asking) == 1:
            self._group(peer, request)

    def _group(self, peer: Peer, request: GroupDeadLetters) -> None:
        began_ms = self._elapsed_ms()
        kinds, total = self._kinds(request.task_type, request.queue)
        found: dict[str, _Group] = {}
        scanned = 0

        def take(rows: list[_Row] | TqError) -> bool:
            nonlocal scanned
            if isinstance(rows, TqError):
                self._tell(request, rows)
                return False
            scanned += len(rows)
            _count(found, rows)
            if len(rows) == STEP_ROWS and scanned < GROUPED_ROWS_MAX:
                return True
            groups = sorted(found.values(), key=lambda group: -group.count)[:GROUPS_SHOWN_MAX]
            reply = DeadLetters(tuple(map(self._shown, groups)), max(total, scanned), scanned)
            took_ms = self._elapsed_ms() - began_ms
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            self._kept[request] = (self._elapsed_ms() + KEPT_FACTOR * took_ms, reply)
            self._tell(request, reply)
            return False

        self._walk(peer, kinds, 0, take)

    def _tell(self, request: GroupDeadLetters, reply: DeadLetters | TqError) -> None:
        for answer in self._asking.pop(request):
            answer(reply)

    def _shown(self, group: _Group) -> DeadLetterGroup:
        row, kind = group.row, self._state.kinds_by_number[group.row.kind]
        return DeadLetterGroup(
            row.fingerprint,
            kind.task_type,
            kind.queue,
            row.error,
            group.count,
            group.first_ms,
            group.last_ms,
            row.task_id,
        )

    # ------------------------------------------------------------ one group

    def page(
        self,
        peer: Peer,
        chosen: GroupDeadLetters,
        fingerprint: str,
        *,
        limit: int,
        cursor: int,
        done: Callable[[Found | TqError], None],
    ) -> None:
        """The next of a group's tasks, newest first. A page may be short though its cursor goes on."""

        def counted(reply: object) -> None:
            if isinstance(reply, TqError):
                done(reply)
                return
            assert isinstance(reply, DeadLetters), "groups are answered with groups"
            total = sum(group.tasks for group in reply.groups if group.fingerprint == fingerprint)
            self._search(peer, chosen, fingerprint, limit=limit, cursor=cursor, total=total, done=done)

        self.groups(peer, chosen, counted)

    def _search(
        self,
        peer: Peer,
        chosen: GroupDeadLetters,
        fingerprint: str,
        *,
        limit: int,
        cursor: int,
        total: int,
        done: Callable[[Found | TqError], None],
    ) -> None:
        found: list[tuple[int, bytes]] = []
        scanned = 0

        def take(rows: list[_Row] | TqError) -> bool:
            nonlocal scanned
            if isinstance(rows, TqError):
                done(rows)
                return False
            scanned += len(rows)
            found.extend((row.seq, row.task_id) for row in rows if row.fingerprint == fingerprint)
            is_through = len(rows) < STEP_ROWS
            if len(found) > limit:
                done((found[:limit], found[limit - 1][0], total))
            elif is_through:
                done((found, 0, total))
            elif scanned >= SEARCHED_ROWS_MAX:
                done((found, rows[-1].seq, total))
            else:
                return True
            return False

        self._walk(peer, self._kinds(chosen.task_type, chosen.queue)[0], cursor, take)

    # ------------------------------------------------------------ reading

    def _kinds(self, task_type: str, queue: str) -> tuple[list[int], int]:
        """(numbers of the kinds that have any, how many they have)"""
        kinds = [
            kind
            for kind in self._state.kinds.values()
            if kind.counts[DEAD_LETTER]
            and (not task_type or kind.task_type == task_type)
            and (not queue or kind.queue == queue)
        ]
        return [kind.number for kind in kinds], sum(kind.counts[DEAD_LETTER] for kind in kinds)

    def _walk(
        self, peer: Peer, kinds: list[int], cursor: int, take: Callable[[list[_Row] | TqError], bool]
    ) -> None:
        """Give `take` the rows below the cursor, step by step, as long as it wants more."""

        def stepped(rows: list[_Row] | Exception) -> None:
            if isinstance(rows, Exception):
                take(rows if isinstance(rows, TqError) else TqError(f"reading the store failed: {rows}"))
            elif take(rows):
                self._walk(peer, kinds, rows[-1].seq, take)

        self._reads.call(lambda: self._step(kinds, cursor or SEQ_MAX), stepped, peer)

    def _step(self, kinds: list[int], below: int) -> list[_Row]:
        """STEP_ROWS rows, fewer at the end only. On the disk thread."""
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
            rows.append(_Row(seq, task_id, record.kind, record.ended_ms, *told))
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


def _count(found: dict[str, _Group], rows: list[_Row]) -> None:
    for row in rows:
        group = found.get(row.fingerprint)
        if group is None:
            if len(found) >= DISTINCT_MAX:
                continue
            group = found[row.fingerprint] = _Group(row)
        group.count += 1
        group.first_ms = min(group.first_ms, row.ended_ms)
        group.last_ms = max(group.last_ms, row.ended_ms)
