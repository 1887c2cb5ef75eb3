"""The machine: a table from command to handler, applied entry by entry.

Applying the same entries to an empty machine gives the same state, the same writes and the same replies on every
node, whatever the hash seed and the wall clock. `DESIGN.md` beside this file tells the mechanisms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tq.broker.machine.attend import (
    change_capacity,
    claim_tasks,
    close_session,
    drain_sessions,
    open_session,
)
from tq.broker.machine.checkout import checkout
from tq.broker.machine.commands import (
    CancelTask,
    ChangeCapacity,
    ClaimTasks,
    CloseSession,
    Command,
    DrainSessions,
    ExtendLeases,
    ForgetTasks,
    ImportTasks,
    OpenSession,
    RetryTask,
    SetPause,
    SettleTasks,
    SubmitTasks,
    Tick,
)
from tq.broker.machine.control import cancel_task, forget_tasks, retry_task, set_pause
from tq.broker.machine.effects import Outcome
from tq.broker.machine.ending import MINUTE_MS
from tq.broker.machine.gate import why_waiting
from tq.broker.machine.heads import EndedRecord, Head
from tq.broker.machine.imports import import_tasks
from tq.broker.machine.invariants import check
from tq.broker.machine.restore import digest, restore_row, restored
from tq.broker.machine.settle import extend_leases, settle_tasks
from tq.broker.machine.state import CLASS_OF_STATE, Archive, State
from tq.broker.machine.submit import submit_tasks
from tq.broker.machine.tick import tick
from tq.broker.tables import Table
from tq.errors import TqError
from tq.task import COMPLETED
from tq.verbs import Reply

_HANDLERS: dict[type[Command], Callable[[State, Any], Reply | TqError]] = {
    SubmitTasks: submit_tasks,
    OpenSession: open_session,
    CloseSession: close_session,
    ChangeCapacity: change_capacity,
    ClaimTasks: claim_tasks,
    SettleTasks: settle_tasks,
    ExtendLeases: extend_leases,
    CancelTask: cancel_task,
    RetryTask: retry_task,
    ForgetTasks: forget_tasks,
    SetPause: set_pause,
    Tick: tick,
    DrainSessions: drain_sessions,
    ImportTasks: import_tasks,
}

MACHINE_KEY = "machine"
"""The META row that holds index, clock and sequence."""


class Machine:
    """Owned by whoever applies; others may read what it publishes, between entries and on the same thread."""

    def __init__(self, archive: Archive) -> None:
        self.state = State(archive)

    def apply(self, index: int, now_ms: int, commands: Sequence[Command]) -> Outcome:
        """Apply one entry and return what it did. Never raises for what a command says.

        index: the entry's place in the log, above the one before. now_ms: the leader's wall clock at proposal.
        An AssertionError is a broken invariant: the process must stop, for its state can no longer be trusted.
        """
        state = self.state
        assert index > state.index, f"entry {index} applied after {state.index}"
        state.begin(index, now_ms)
        replies = [_HANDLERS[type(command)](state, command) for command in commands]
        checkout(state)
        changed = list(state.touched.values())
        _emit(state, changed)
        archived: dict[bytes, EndedRecord | None] = dict.fromkeys(state.forgotten)
        archived.update(state.ended_records)
        return Outcome(
            replies,
            state.writes,
            state.effects,
            state.payloads,
            state.metadata,
            archived,
            state.ended,
            changed,
            state.leased,
            state.attempts,
        )

    def next_due_ms(self) -> int | None:
        """When a Tick next has something to do, by the entries' clock; None when nothing waits for time."""
        waits, deadlines = self.state.waits.next_ms(), self.state.deadlines.next_ms()
        if waits is None or deadlines is None:
            return deadlines if waits is None else waits
        return min(waits, deadlines)

    def why_waiting(self, head: Head) -> str:
        """In words, why a live task is not running (or where it is)."""
        return why_waiting(self.state, head)

    def restore(self, table: Table, key: object, record: object) -> None:
        """Take back one row of META, KIND, QUEUE, UNIQUE, METER, COUNT, SESSION or LIVE, in that order of tables.

        key and record are as the machine wrote them, lists in place of tuples allowed.
        """
        restore_row(self.state, table, key, record)

    def restored(self) -> None:
        """All rows are back: rebuild what is derived from them."""
        restored(self.state)

    def digest(self) -> str:
        """A hash of the whole state; equal on nodes that applied the same entries."""
        return digest(self.state)

    def check(self) -> None:
        """Assert every invariant. Costs a walk over the whole state: for tests."""
        check(self.state)


def _emit(state: State, changed: list[Head]) -> None:
    """Turn what was touched into writes, the last state of each head and session only."""
    write, live, index = state.writes.append, Table.LIVE, Table.INDEX
    for session_id, session in state.changed_sessions.items():
        write((Table.SESSION, session_id, session.record()))
    for head in changed:
        seq, was_filed = head.seq, head.filed
        head.filed = filed = CLASS_OF_STATE[head.state]
        is_live = head.state < COMPLETED
        if filed != was_filed:
            kind = head.terms.kind.number
            if was_filed:
                write((index, (was_filed, kind, seq), None))
            if is_live:
                write((index, (filed, kind, seq), head.task_id))
        if is_live:
            write((live, seq, head.record()))
        elif was_filed:
            write((live, seq, None))
    for task_id, record in state.ended_records.items():
        write((Table.ENDED, task_id, record))
        write((Table.INDEX, (CLASS_OF_STATE[record.state], record.kind, record.seq), task_id))
    for number, counted in state.counted.items():
        write((Table.COUNT, number, tuple(counted.counts[COMPLETED:])))
    minute = state.clock_ms // MINUTE_MS
    if state.ended and minute in state.meter:
        write((Table.METER, minute, state.meter[minute]))
    write((Table.META, MACHINE_KEY, (state.index, state.clock_ms, state.sequence)))
