"""The machine's state, and the few moves every command is made of.

Rules of this package:
- Nothing here reads a clock, draws a number, iterates over a set or depends on hash order. Dicts are iterated in
  the order of insertion, which the log fixes.
- A task changes state only through `State.move`, which keeps counts right and marks the head as touched.
- What a command wants written is collected while an entry is applied and emitted once at its end, so a task that
  is submitted, leased and settled in one entry costs the writes of its last state only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from tq.broker.machine.effects import Effect, Record, Revoke
from tq.broker.machine.heads import EndedRecord, Head, Hold, Terms
from tq.broker.machine.kinds import Kind
from tq.broker.machine.sessions import Group, Session
from tq.broker.machine.timers import Deadlines, Waits
from tq.broker.tables import Table
from tq.retry import RetryPolicy
from tq.task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    EXPIRED,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
    Attempt,
)

TERMS_MAX = 10_000
"""Distinct terms remembered for sharing; past it the memory of them is dropped, the terms in use live on."""
KINDS_MAX = 100_000
"""Distinct (queue, task type) pairs: each is kept for good, so names made from data must not fill the memory."""
METER_MINUTES = 61
"""Whole minutes kept for the counts of the last hour, and the current one."""

CLASS_OF_STATE: dict[int, int] = {
    SCHEDULED: ord("s"),
    BLOCKED: ord("b"),
    PENDING: ord("p"),
    # Running tasks are filed with the pending ones: they are few, known from memory, and a lease then costs no
    # index write.
    IN_PROGRESS: ord("p"),
    RETRYING: ord("r"),
    COMPLETED: ord("c"),
    DEAD_LETTER: ord("d"),
    CANCELLED: ord("x"),
    EXPIRED: ord("e"),
}
"""state -> the class its index row stands under."""


class Archive(Protocol):
    """The ended tasks, as the store holds them after the entry before this one."""

    def get(self, task_id: bytes) -> EndedRecord | None: ...

    def known(self, task_ids: Sequence[bytes]) -> Collection[bytes]:
        """Those of task_ids that `get` may find; for a batch of new ids one look-up that finds none."""
        ...


class UniqueHold(NamedTuple):
    """The key is taken while the task lives and until until_ms (0: only while it lives)."""

    task_id: bytes
    until_ms: int


class Minute(NamedTuple):
    """What ended in one minute. run_ms: sum over the completed, lease to settle."""

    completed: int = 0
    failed: int = 0
    run_ms: int = 0


class Pause(NamedTuple):
    reason: str
    since_ms: int


class State:
    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.index = 0
        self.clock_ms = 0
        self.sequence = 0
        self.heads: dict[bytes, Head] = {}
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.kinds_by_number: dict[int, Kind] = {}
        self.sessions: dict[bytes, Session] = {}
        self.groups: dict[tuple[frozenset[str], frozenset[str]], Group] = {}
        self.unique: dict[str, UniqueHold] = {}
        self.pauses: dict[str, Pause] = {}
        # task id -> the blocked tasks that wait for it, by their own ids.
        self.dependents: dict[bytes, dict[bytes, Head]] = {}
        # Groups that may have become able to lease since the last checkout.
        self.woken: list[Group] = []
        self.waits = Waits()
        self.deadlines = Deadlines()
        self.meter: dict[int, Minute] = {}
        self.totals = [0] * 10
        self.tiers = [0, 0, 0]
        self._terms: dict[tuple[int, int, int, int, RetryPolicy | None], Terms] = {}
        self.begin(0, 0)

    # ------------------------------------------------------------ one entry

    def begin(self, index: int, now_ms: int) -> None:
        """Start an entry: time moves forward only, and what it will say is empty."""
        self.index = index
        self.clock_ms = max(self.clock_ms, now_ms)
        self.writes: list[tuple[Table, object, Record]] = []
        self.effects: list[Effect] = []
        self.payloads: dict[int, bytes] = {}
        self.metadata: dict[int, dict[str, str]] = {}
        self.touched: dict[int, Head] = {}
        self.ended: list[Head] = []
        self.leased: list[tuple[Kind, int]] = []
        self.attempts: list[tuple[Head, Attempt]] = []
        self.ended_records: dict[bytes, EndedRecord] = {}
        self.forgotten: dict[bytes, None] = {}
        self.counted: dict[int, Kind] = {}
        self.changed_sessions: dict[bytes, Session] = {}
        self.missed: dict[bytes, list[bytes]] = {}

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def write(self, table: Table, key: object, record: Record) -> None:
        self.writes.append((table, key, record))

    # ------------------------------------------------------------ kinds and terms

    def new_kind(self, queue: str, task_type: str) -> Kind:
        """A kind for the first task of it."""
        kind = self.add_kind(len(self.kinds) + 1, queue, task_type)
        self.write(Table.KIND, kind.number, (queue, task_type))
        return kind

    def add_kind(self, number: int, queue: str, task_type: str) -> Kind:
        kind = Kind(number, queue, task_type)
        kind.paused = queue in self.pauses
        kind.groups = [group for group in self.groups.values() if group.serves(kind)]
        self.kinds[queue, task_type] = self.kinds_by_number[number] = kind
        return kind

    def terms_of(
        self, kind: Kind, priority: int, timeout_ms: int, max_retries: int, retry: RetryPolicy | None
    ) -> Terms:
        key = (kind.number, priority, timeout_ms, max_retries, retry)
        terms = self._terms.get(key)
        if terms is None:
            if len(self._terms) >= TERMS_MAX:
                self._terms.clear()
            terms = self._terms[key] = Terms(kind, priority, timeout_ms, max_retries, retry)
        return terms

    # ------------------------------------------------------------ moves

    def place(self, head: Head) -> None:
        """Count a head that has just come to life; its state is set already."""
        self.heads[head.task_id] = head
        terms = head.terms
        state = head.state
        terms.kind.counts[state] += 1
        self.totals[state] += 1
        self.touched[head.seq] = head
        if state == PENDING:
            self.tiers[terms.tier] += 1
            terms.kind.append(head, terms.priority)

    def move(self, head: Head, state: int) -> None:
        """Change a head's state; the queues of ready tasks are the caller's business."""
        counts = head.terms.kind.counts
        totals = self.totals
        old = head.state
        counts[old] -= 1
        totals[old] -= 1
        counts[state] += 1
        totals[state] += 1
        if old == PENDING or state == PENDING:
            self.tiers[head.terms.tier] += 1 if state == PENDING else -1
        head.state = state
        head.updated_ms = self.clock_ms
        self.touched[head.seq] = head

    def make_ready(self, head: Head) -> None:
        """A task that waited for time or for others now waits for a worker only, behind those who do already."""
        head.due_ms = 0
        head.order = self.next_sequence()
        self.move(head, PENDING)
        head.terms.kind.append(head, head.terms.priority)

    def wait_until(self, head: Head, state: int, due_ms: int) -> None:
        """Park a task as SCHEDULED or RETRYING."""
        head.due_ms = due_ms
        self.move(head, state)
        self.waits.add(due_ms, head.seq, 0, head)

    def release(self, head: Head) -> Hold:
        """Take the lease off a running task; what becomes of the task is the caller's business."""
        hold = head.hold
        assert hold is not None, f"task {head.task_id.hex()} is running without a lease"
        head.hold = None
        self.deadlines.remove(head, hold.deadline_ms)
        del self.sessions[hold.session_id].held[head.task_id]
        return hold

    def revoke(self, head: Head, reason: str) -> Hold:
        """Take the lease off a task whose worker does not know yet: its slot stays taken until it settles."""
        hold = self.release(head)
        session = self.sessions[hold.session_id]
        session.zombies[head.task_id, hold.token] = None
        self.changed_sessions[hold.session_id] = session
        self.effects.append(Revoke(hold.session_id, head.task_id, hold.token, reason))
        return hold

    def find_ended(self, task_id: bytes) -> EndedRecord | None:
        """An ended task, whether this entry ended it or an earlier one."""
        record = self.ended_records.get(task_id)
        if record is not None or task_id in self.forgotten:
            return record
        return self.archive.get(task_id)

    @property
    def waiting(self) -> int:
        """Tasks that wait for anything."""
        totals = self.totals
        return totals[PENDING] + totals[SCHEDULED] + totals[BLOCKED] + totals[RETRYING]
