"""What operators and clients ask of tasks and queues: cancel, retry, forget, pause."""

from __future__ import annotations

from tq.broker.machine.commands import CancelTask, ForgetTasks, RetryTask, SetPause
from tq.broker.machine.ending import end_attempt, end_task
from tq.broker.machine.heads import EndedRecord, Head, extras_of
from tq.broker.machine.state import CLASS_OF_STATE, Pause, State, UniqueHold
from tq.broker.machine.submit import hang, why_never
from tq.broker.tables import Table
from tq.errors import InvalidStatus, TaskNotFound, TqError
from tq.ids import to_text
from tq.task import (
    ATTEMPTS_SHOWN_MAX,
    BLOCKED,
    CANCELLED,
    DEAD_LETTER,
    IN_PROGRESS,
    PENDING,
    STATUS_OF_STATE,
    Cause,
)
from tq.verbs import Done, Purged, TaskRef


def cancel_task(state: State, command: CancelTask) -> TaskRef | TqError:
    """End a live task. A running one ends at once; its worker is told to stop, and its slot stays taken till then."""
    head = state.heads.get(command.task_id)
    if head is None:
        return _not_live(state, command.task_id, "cancelled")
    if head.state != IN_PROGRESS:
        end_task(state, head, CANCELLED, reason="cancelled while it waited")
        return TaskRef(command.task_id, CANCELLED)
    if not command.force:
        return InvalidStatus(f"task {to_text(command.task_id)} is running; cancel it with force to stop it")
    hold = state.revoke(head, "cancelled")
    text = "cancelled while it ran"
    end_attempt(state, head, hold, cause=Cause.CANCELLED, error=text)
    end_task(state, head, CANCELLED, reason=text, hold=hold)
    return TaskRef(command.task_id, CANCELLED)


def _not_live(state: State, task_id: bytes, done: str) -> TqError:
    record = state.find_ended(task_id)
    if record is None:
        return TaskNotFound(f"no task {to_text(task_id)}")
    return InvalidStatus(
        f"task {to_text(task_id)} ended as {STATUS_OF_STATE[record.state]} and cannot be {done}"
    )


def retry_task(state: State, command: RetryTask) -> TaskRef | TqError:
    """Bring a dead-lettered or cancelled task back, its counters at zero, its history kept."""
    task_id = command.task_id
    head = state.heads.get(task_id)
    if head is not None:
        return InvalidStatus(
            f"task {to_text(task_id)} is {STATUS_OF_STATE[head.state]}; only dead-lettered and cancelled tasks"
            " can be retried"
        )
    record = state.find_ended(task_id)
    if record is None:
        return TaskNotFound(f"no task {to_text(task_id)}")
    if record.state not in (DEAD_LETTER, CANCELLED):
        return _not_live(state, task_id, "retried")
    return _revive(state, task_id, record, command.max_retries)


def _revive(state: State, task_id: bytes, record: EndedRecord, max_retries: int) -> TaskRef | TqError:
    kind = state.kinds_by_number[record.kind]
    max_retries = record.max_retries if max_retries < 0 else max_retries
    terms = state.terms_of(kind, record.priority, record.timeout_ms, max_retries, record.retry)
    extras = extras_of(record.extras)
    head = Head(task_id, record.seq, terms, PENDING, record.created_ms, extras)
    if extras is not None:
        never = why_never(state, head, extras)
        if never:
            return InvalidStatus(f"task {to_text(task_id)} cannot run: {never}; retry that one first")
        if extras.unique_key and not _takes_key(state, task_id, extras.unique_key):
            return _key_is_taken(state, task_id, extras.unique_key)
        hang(state, head, extras)
        # Asked for again by hand, it neither waits for its old schedule nor expires.
        extras.expires_at_ms, extras.schedule_at_ms = 0, 0
        if extras.missing:
            head.state = BLOCKED
    head.order = state.next_sequence()
    head.attempts = record.attempts
    # Ended in this very entry, its live rows are still in the store under the class it had.
    earlier = state.touched.get(record.seq)
    head.filed = earlier.filed if earlier is not None else 0
    _unfile(state, task_id, record)
    state.place(head)
    head.updated_ms = state.clock_ms
    return TaskRef(task_id, head.state)


def _takes_key(state: State, task_id: bytes, key: str) -> bool:
    """Whether a task that comes back has its unique key: it still does, or the key is free and it takes it."""
    held = state.unique.get(key)
    if held is not None and held.task_id == task_id:
        return True
    if held is not None and (held.task_id in state.heads or held.until_ms > state.clock_ms):
        return False
    state.unique[key] = UniqueHold(task_id, 0)
    state.write(Table.UNIQUE, key, state.unique[key])
    return True


def _key_is_taken(state: State, task_id: bytes, key: str) -> InvalidStatus:
    """Two tasks with one key would run side by side, which is what the key is there to prevent."""
    held = state.unique[key]
    other = state.heads.get(held.task_id)
    why = "has ended, and the key's time-to-live has not passed"
    if other is not None:
        why = f"is {STATUS_OF_STATE[other.state]}"
    return InvalidStatus(
        f"task {to_text(task_id)} has the unique key {key!r}, which now belongs to task {to_text(held.task_id)},"
        f" and that one {why}; retry this one later, or submit its work without the key"
    )


def _unfile(state: State, task_id: bytes, record: EndedRecord) -> None:
    """Take an ended task out of the records of ended tasks."""
    kind = state.kinds_by_number[record.kind]
    kind.counts[record.state] -= 1
    state.totals[record.state] -= 1
    state.counted[record.kind] = kind
    # Ended earlier in this entry, it has no rows yet, and deleting what is not there does no harm.
    state.ended_records.pop(task_id, None)
    state.write(Table.ENDED, task_id, None)
    state.write(Table.INDEX, (CLASS_OF_STATE[record.state], record.kind, record.seq), None)
    state.forgotten[task_id] = None


def forget_tasks(state: State, command: ForgetTasks) -> Purged:
    purged = 0
    for task_id in command.task_ids:
        record = state.find_ended(task_id)
        if record is None:
            continue
        _unfile(state, task_id, record)
        key = record.extras[2] if record.extras is not None else ""
        if key and key in state.unique and state.unique[key].task_id == task_id:
            del state.unique[key]
            state.write(Table.UNIQUE, key, None)
        for table in (Table.PAYLOAD, Table.RESULT, Table.EXTRA):
            state.write(table, record.seq, None)
        # The last attempt leaves no row when it completed the task, so one more may be left of those before.
        for number in range(max(1, record.attempts - ATTEMPTS_SHOWN_MAX), record.attempts + 1):
            state.write(Table.ATTEMPT, (record.seq, number), None)
        purged += 1
    return Purged(purged, False)


def set_pause(state: State, command: SetPause) -> Done:
    if command.paused:
        pause = state.pauses[command.queue] = Pause(command.reason, state.clock_ms)
        state.write(Table.QUEUE, command.queue, pause)
    elif state.pauses.pop(command.queue, None) is not None:
        state.write(Table.QUEUE, command.queue, None)
    for kind in state.kinds.values():
        if kind.queue == command.queue:
            kind.set_paused(command.paused)
    return Done()
