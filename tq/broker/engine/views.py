"""Tasks as they may be seen from outside: what memory knows of a live one, what the store knows of all."""

from __future__ import annotations

from tq.broker.engine.entries import unpack_attempt, unpack_ended, unpack_metadata
from tq.broker.machine.heads import EndedRecord, Extras, Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.machine import Machine
from tq.broker.storage import keys
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.retry import DEFAULT_RETRY
from tq.task import ATTEMPTS_SHOWN_MAX, COMPLETED, NO_COUNTERS, Attempt, Cause, TaskView


def live_view(machine: Machine, head: Head, progress: tuple[int, str] | None = None) -> TaskView:
    """What memory knows; `complete` adds what the store knows. On the loop only."""
    terms, hold, extras = head.terms, head.hold, head.extras or _NO_EXTRAS
    return TaskView(
        task_id=head.task_id,
        task_type=terms.kind.task_type,
        queue=terms.kind.queue,
        state=head.state,
        state_reason=machine.why_waiting(head),
        priority=terms.priority,
        created_ms=head.created_ms,
        updated_ms=head.updated_ms,
        schedule_at_ms=head.due_ms or extras.schedule_at_ms,
        timeout_ms=terms.timeout_ms,
        max_retries=terms.max_retries,
        retry_count=head.counters.errors + head.counters.timeouts,
        worker_id=hold.worker_id if hold else "",
        attempts=(_running(head),) if hold else (),
        counters=head.counters,
        started_ms=hold.started_ms if hold else 0,
        token=hold.token if hold else 0,
        expires_at_ms=extras.expires_at_ms,
        retry=terms.retry_policy,
        dependencies=extras.dependencies,
        unique_key=extras.unique_key,
        progress=progress,
    )


def _running(head: Head) -> Attempt:
    hold = head.hold
    assert hold is not None
    return Attempt(head.attempts, hold.worker_id, hold.token, hold.started_ms)


_NO_EXTRAS = Extras()


class ViewReader:
    """Reads rows and makes views of them. On the disk thread, so that it sees every batch written before."""

    def __init__(self, store: Store, kinds: dict[int, Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def complete(self, view: TaskView, seq: int, *, whole: bool, with_payload: bool = False) -> TaskView:
        """Add past attempts and the last error to a live task's view; with whole, metadata and payload size too."""
        past = self._attempts(seq) if view.counters is not NO_COUNTERS else ()
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
