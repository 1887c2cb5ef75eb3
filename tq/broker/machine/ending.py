"""What happens when a task ends: its record, its dependents, its unique key, the meter."""

from __future__ import annotations

from tq.broker.machine.heads import EndedRecord, Extras, Head, Hold
from tq.broker.machine.state import METER_MINUTES, Minute, State
from tq.broker.machine.timers import UNIQUE
from tq.broker.tables import Table
from tq.ids import to_text
from tq.task import (
    ATTEMPTS_SHOWN_MAX,
    BLOCKED,
    COMPLETED,
    DEAD_LETTER,
    NO_COUNTERS,
    PENDING,
    RETRYING,
    SCHEDULED,
    STATUS_OF_STATE,
    Attempt,
)

MINUTE_MS = 60_000


def end_task(state: State, head: Head, end: int, *, reason: str = "", hold: Hold | None = None) -> None:
    """Bring a live task to an end, and whatever hangs on it.

    A task that ends otherwise than completed takes its dependents along, and they theirs: done with a list, not by
    recursion, because a chain may be long. Dependents go in order of seq, and whatever a task depends on has a lower
    one, so the last on the list never waits for another on it and none is put there twice.
    """
    fallen = [(head, end, reason, hold)]
    while fallen:
        head, end, reason, hold = fallen.pop()
        _end_one(state, head, end, reason=reason, hold=hold)
        dependents = state.dependents.pop(head.task_id, None)
        if dependents is None:
            continue
        for dependent in sorted(dependents.values(), key=_seq):
            if end == COMPLETED:
                _one_fewer(state, dependent)
            else:
                fallen.append((dependent, DEAD_LETTER, unmet(head.task_id, end), None))


def unmet(task_id: bytes, end: int) -> str:
    """Why a task cannot run: what it depends on ended otherwise than completed."""
    return f"its dependency {to_text(task_id)} ended as {STATUS_OF_STATE[end]}"


def _end_one(state: State, head: Head, end: int, *, reason: str, hold: Hold | None) -> None:
    old = head.state
    state.move(head, end)
    if old == PENDING:
        head.terms.kind.discard(head, head.terms.priority)
    elif old in (SCHEDULED, RETRYING):
        state.waits.call_off()
    del state.heads[head.task_id]
    state.ended.append(head)
    state.counted[head.terms.kind.number] = head.terms.kind
    _file(state, head, reason, hold)
    if head.extras is not None:
        _let_go(state, head, head.extras, old)
    if end in (COMPLETED, DEAD_LETTER):
        _meter(state, head, hold)


def _file(state: State, head: Head, reason: str, hold: Hold | None) -> None:
    terms = head.terms
    record = EndedRecord(
        head.seq,
        terms.kind.number,
        terms.priority,
        terms.timeout_ms,
        terms.max_retries,
        terms.retry,
        head.state,
        head.created_ms,
        state.clock_ms,
        head.attempts,
        None if head.counters is NO_COUNTERS else head.counters,
        None if head.extras is None else head.extras.record(),
        reason,
        hold.worker_id if hold else "",
        hold.token if hold else 0,
        hold.started_ms if hold else 0,
    )
    state.ended_records[head.task_id] = record


def _one_fewer(state: State, dependent: Head) -> None:
    extras = dependent.extras
    assert extras is not None, "a dependent has extras"
    extras.missing -= 1
    if extras.missing:
        return
    if extras.schedule_at_ms > state.clock_ms:
        state.wait_until(dependent, SCHEDULED, extras.schedule_at_ms)
    else:
        state.make_ready(dependent)


def _let_go(state: State, head: Head, extras: Extras, old: int) -> None:
    """Undo what the extras of a task that has ended had set up."""
    if old == BLOCKED:
        for dependency in extras.dependencies:
            siblings = state.dependents.get(dependency)
            if siblings is not None and siblings.pop(head.task_id, None) is not None and not siblings:
                del state.dependents[dependency]
    if extras.expires_at_ms and not head.attempts:
        state.waits.call_off()
    if extras.unique_key:
        _release_unique(state, extras.unique_key)


def _release_unique(state: State, key: str) -> None:
    held = state.unique[key]
    if held.until_ms > state.clock_ms:
        state.waits.add(held.until_ms, 0, UNIQUE, key)
    else:
        del state.unique[key]
        state.write(Table.UNIQUE, key, None)


def _meter(state: State, head: Head, hold: Hold | None) -> None:
    minute = state.clock_ms // MINUTE_MS
    completed, failed, run_ms = state.meter.get(minute, (0, 0, 0))
    if head.state == COMPLETED:
        completed += 1
        run_ms += state.clock_ms - hold.started_ms if hold else 0
    else:
        failed += 1
    state.meter[minute] = Minute(completed, failed, run_ms)
    if len(state.meter) > METER_MINUTES:
        oldest = min(state.meter)
        del state.meter[oldest]
        state.write(Table.METER, oldest, None)


def end_attempt(state: State, head: Head, hold: Hold, *, cause: int, error: str) -> None:
    """Keep a finished attempt that did not complete the task (a completing one is in the ended record).

    Of a task that is handed back or snoozes again and again only the latest are kept.
    """
    attempt = Attempt(
        head.attempts, hold.worker_id, hold.token, hold.started_ms, state.clock_ms, int(cause), error
    )
    state.attempts.append((head, attempt))
    state.write(Table.ATTEMPT, (head.seq, head.attempts), attempt)
    if head.attempts > ATTEMPTS_SHOWN_MAX:
        state.write(Table.ATTEMPT, (head.seq, head.attempts - ATTEMPTS_SHOWN_MAX), None)


def expired_reason() -> str:
    return "it had not started when it expired"


def _seq(head: Head) -> int:
    return head.seq
