"""Tasks that ended elsewhere: they are filed as ended ones and were never alive here.

What is done when a task ends is not done for them: nobody waits for them, nothing hangs on them, and the meter does not
count them, for it tells what this broker's workers did.
"""

from __future__ import annotations

from tq.broker.machine.commands import ImportTasks
from tq.broker.machine.heads import EndedRecord
from tq.broker.machine.settle import headline
from tq.broker.machine.state import State
from tq.broker.machine.submit import exists, refuse_kinds
from tq.broker.tables import Table
from tq.errors import BadRequest
from tq.task import COMPLETED, Attempt, Cause, Counters, EndedTask
from tq.verbs import Changed

_NO_REASON = "it had ended before it came here"


def import_tasks(state: State, command: ImportTasks) -> Changed | BadRequest:
    """File those that are not known; the others stay as they are, whatever they are."""
    refusal = refuse_kinds(state, command.tasks)
    if refusal is not None:
        return refusal
    done = 0
    for task in command.tasks:
        if not exists(state, task.task_id):
            _file(state, task)
            done += 1
    return Changed(done, len(command.tasks) - done, 0)


def _file(state: State, task: EndedTask) -> None:
    kind = state.kinds.get((task.queue, task.task_type)) or state.new_kind(task.queue, task.task_type)
    seq = state.next_sequence()
    ended_ms = min(task.ended_ms or state.clock_ms, state.clock_ms)
    created_ms = min(task.created_ms or ended_ms, ended_ms)
    # A completed one ran once more than it failed.
    attempts = task.failures + (task.state == COMPLETED)
    state.ended_records[task.task_id] = EndedRecord(
        seq,
        kind.number,
        task.priority,
        task.timeout_ms,
        task.max_retries,
        task.retry,
        task.state,
        created_ms,
        ended_ms,
        attempts,
        Counters(errors=task.failures) if task.failures else None,
        ((), 0, "", 0, True) if task.metadata else None,
        "" if task.state == COMPLETED else headline(task.error) if task.error else _NO_REASON,
        task.worker_id if attempts else "",
        0,
        min(task.started_ms, ended_ms) if attempts else 0,
    )
    kind.counts[task.state] += 1
    state.totals[task.state] += 1
    state.counted[kind.number] = kind
    _write_body(state, seq, task, ended_ms)


def _write_body(state: State, seq: int, task: EndedTask, ended_ms: int) -> None:
    state.write(Table.PAYLOAD, seq, task.payload)
    if task.result and task.state == COMPLETED:
        state.write(Table.RESULT, seq, task.result)
    if task.metadata:
        state.write(Table.EXTRA, seq, task.metadata)
    if task.failures and task.state != COMPLETED:
        # Of those that failed only the last one is known, and of a completed task not even when that was.
        started_ms = min(task.started_ms or ended_ms, ended_ms)
        cause = int(Cause.ERROR)
        attempt = Attempt(task.failures, task.worker_id, 0, started_ms, ended_ms, cause, task.error)
        state.write(Table.ATTEMPT, (seq, task.failures), attempt)
