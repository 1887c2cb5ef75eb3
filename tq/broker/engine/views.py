"""Tasks as they may be seen from outside: what memory knows of a live one, what the store knows of all."""

from __future__ import annotations

from tq.broker.engine.entries import unpack_attempt, unpack_ended, unpack_metadata
from tq.broker.machine.heads import EndedRecord, Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.machine import Machine
from tq.broker.storage import keys
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.retry import DEFAULT_RETRY
from tq.task import ATTEMPTS_SHOWN_MAX, COMPLETED, NO_COUNTERS, PENDING, Attempt, Cause, TaskView


def live_view(machine: Machine, head: Head, progress: tuple[int, str] | None = None) -> TaskView:
    """What memory knows; `complete` adds what the store knows. On the loop only."""
    return _view(head, machine.why_waiting(head), progress)


class PageViews:
    """`live_view` for the tasks of one page: why they wait is worked out once for all pending ones of a kind."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._why_pending: dict[int, str] = {}
        """kind number -> reason"""

    def of(self, head: Head, progress: tuple[int, str] | None = None) -> TaskView:
        if head.state != PENDING:
            return live_view(self._machine, head, progress)
        kind = head.terms.kind.number
        reason = self._why_pending.get(kind)
        if reason is None:
            reason = self._why_pending[kind] = self._machine.why_waiting(head)
        return _view(head, reason, progress)


def _view(head: Head, reason: str, progress: tuple[int, str] | None) -> TaskView:
    terms, counters = head.terms, head.counters
    # By place: to pass so many names takes as long as all the rest, and pages are made of these.
    view = TaskView(
        head.task_id,
        terms.kind.task_type,
        terms.kind.queue,
        head.state,
        reason,
        terms.priority,
        head.created_ms,
        head.updated_ms,
        head.due_ms,
        terms.timeout_ms,
        terms.max_retries,
        counters.errors + counters.timeouts,
        "",
        counters=counters,
        retry=terms.retry_policy,
    )
    return view if head.hold is None and head.extras is None else _with_more(view, head, progress)


def _with_more(view: TaskView, head: Head, progress: tuple[int, str] | None) -> TaskView:
    """What few waiting tasks have, and what running ones do."""
    hold, extras = head.hold, head.extras
    if extras is not None:
        view = view._replace(
            schedule_at_ms=head.due_ms or extras.schedule_at_ms,
            expires_at_ms=extras.expires_at_ms,
            dependencies=extras.dependencies,
            unique_key=extras.unique_key,
        )
    if hold is not None:
        view = view._replace(
            worker_id=hold.worker_id,
            attempts=(Attempt(head.attempts, hold.worker_id, hold.token, hold.started_ms),),
            started_ms=hold.started_ms,
            token=hold.token,
            progress=progress,
        )
    return view


def has_past(view: TaskView) -> bool:
    """Whether the store knows of attempts of this live task that have ended."""
    return view.counters is not NO_COUNTERS


class ViewReader:
    """Reads rows and makes views of them. On the disk thread, so that it sees every batch written before."""

    def __init__(self, store: Store, kinds: dict[int, Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def complete(self, view: TaskView, seq: int, *, whole: bool, with_payload: bool = False) -> TaskView:
        """Add past attempts and the last error to a live task's view; with whole, metadata and payload size too."""
        if has_past(view):
            past = self._attempts(seq)
            error = past[-1].error if past else ""
            view = view._replace(attempts=(past + view.attempts)[-ATTEMPTS_SHOWN_MAX:], error=error)
        return self._with_body(view, seq, with_payload=with_payload) if whole else view

    def ended(
        self, task_id: bytes, *, whole: bool, with_payload: bool = False, with_result: bool = True
    ) -> TaskView | None:
        """An ended task, with its result unless told otherwise; None when there is none of this id."""
        value = self._store.get(Table.ENDED, task_id)
        if value is None:
            return None
        record = unpack_ended(value)
        past = self._attempts(record.seq) if record.counters is not None or record.state != COMPLETED else ()
        view = ended_view(task_id, record, self._kinds[record.kind], past)
        if record.state == COMPLETED and (with_result or whole):
            result = self._store.get(Table.RESULT, keys.seq_key(record.seq)) or b""
            view = view._replace(result=result if with_result else None, result_bytes=len(result))
        return self._with_body(view, record.seq, with_payload=with_payload) if whole else view

    def _attempts(self, seq: int) -> tuple[Attempt, ...]:
        rows = self._store.scan(Table.ATTEMPT, keys.attempt_key(seq, 0), keys.attempt_key(seq + 1, 0))
        return tuple(unpack_attempt(value) for _, value in rows)

    def _with_body(self, view: TaskView, seq: int, *, with_payload: bool) -> TaskView:
        key = keys.seq_key(seq)
        payload = self._store.get(Table.PAYLOAD, key) or b""
        return view._replace(
            metadata=unpack_metadata(self._store.get(Table.EXTRA, key)),
            payload=payload if with_payload else None,
            payload_bytes=len(payload),
        )


def ended_view(task_id: bytes, record: EndedRecord, kind: Kind, past: tuple[Attempt, ...]) -> TaskView:
    """A view of what has ended, result not filled in. past: its attempts but the completing one."""
    counters = record.counters or NO_COUNTERS
    extras = record.extras or ((), 0, "", 0, False)
    completed = record.state == COMPLETED
    if completed:
        last = Attempt(
            record.attempts,
            record.worker_id,
            record.token,
            record.started_ms,
            record.ended_ms,
            int(Cause.DONE),
        )
        past = (*past, last)
    error = past[-1].error if past and not completed else ""
    return TaskView(
        task_id=task_id,
        task_type=kind.task_type,
        queue=kind.queue,
        state=record.state,
        state_reason=record.reason or "completed",
        priority=record.priority,
        created_ms=record.created_ms,
        updated_ms=record.ended_ms,
        schedule_at_ms=extras[3],
        timeout_ms=record.timeout_ms,
        max_retries=record.max_retries,
        # The last failure was not followed by a retry.
        retry_count=min(counters.errors + counters.timeouts, record.max_retries),
        worker_id=record.worker_id,
        error=error if error or completed else record.reason,
        attempts=past[-ATTEMPTS_SHOWN_MAX:],
        counters=counters,
        started_ms=record.started_ms,
        ended_ms=record.ended_ms,
        token=record.token,
        expires_at_ms=extras[1],
        retry=record.retry or DEFAULT_RETRY,
        dependencies=tuple(extras[0]),
        unique_key=extras[2],
    )
