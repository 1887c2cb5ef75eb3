"""From replies to messages: what clients are told. Pure."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from tq.documents import cause_word
from tq.ids import to_text
from tq.proto import taskqueue_pb2 as pb
from tq.retry import RetryPolicy
from tq.task import Attempt, TaskView
from tq.verbs import QueueStats, Stats, Submit, Submitted, TaskPage, TaskRef


def submitted(request: Submit, reply: Submitted) -> list[pb.SubmitTaskResponse]:
    """One answer for each task of the request, in order."""
    created_at = stamp(reply.created_ms)
    answers = [
        pb.SubmitTaskResponse(task_id=to_text(spec.task_id), status=state, created_at=created_at)  # type: ignore[arg-type]
        for spec, state in zip(request.tasks, reply.states, strict=True)
    ]
    for existing in reply.existing:
        answer = answers[existing.position]
        answer.task_id = to_text(existing.task_id)
        answer.created_at.CopyFrom(stamp(existing.created_ms))
        answer.existed = True
    return answers


def cancelled(ref: TaskRef) -> pb.CancelTaskResponse:
    return pb.CancelTaskResponse(task_id=to_text(ref.task_id), status=ref.state)  # type: ignore[arg-type]


def task(view: TaskView) -> pb.Task:
    """Everything that is known of one task."""
    made = pb.Task(
        task_id=to_text(view.task_id),
        task_type=view.task_type,
        queue=view.queue,
        status=view.state,  # type: ignore[arg-type]
        state_reason=view.state_reason,
        priority=view.priority,
        created_at=stamp(view.created_ms),
        updated_at=stamp(view.updated_ms),
        timeout_seconds=view.timeout_ms / 1000,
        max_retries=view.max_retries,
        retry_count=view.retry_count,
        worker_id=view.worker_id,
        result=view.result,
        error=view.error,
        attempts=[_attempt(each) for each in view.attempts],
        payload=view.payload,
        payload_bytes=view.payload_bytes if view.payload_bytes >= 0 else None,
        retry=_policy(view.retry),
        dependencies=[to_text(task_id) for task_id in view.dependencies],
        unique_key=view.unique_key,
        metadata=view.metadata,
    )
    _add_moments(made, view)
    if view.progress is not None:
        made.progress.fraction, made.progress.text = view.progress[0] / 1000, view.progress[1]
    return made


def _add_moments(made: pb.Task, view: TaskView) -> None:
    """Times that a task may not have; absent is how a message says so."""
    if view.started_ms:
        made.started_at.CopyFrom(stamp(view.started_ms))
    if view.ended_ms:
        made.ended_at.CopyFrom(stamp(view.ended_ms))
    if view.schedule_at_ms:
        made.schedule_at.CopyFrom(stamp(view.schedule_at_ms))
    if view.expires_at_ms:
        made.expires_at.CopyFrom(stamp(view.expires_at_ms))


def _attempt(attempt: Attempt) -> pb.Attempt:
    return pb.Attempt(
        number=attempt.number,
        worker_id=attempt.worker_id,
        started_at=stamp(attempt.started_ms),
        ended_at=stamp(attempt.ended_ms) if attempt.ended_ms else None,
        outcome=cause_word(attempt.cause) if attempt.ended_ms else "",
        error=attempt.error,
        fencing_token=attempt.token,
    )


def _policy(policy: RetryPolicy) -> pb.RetryPolicy:
    return pb.RetryPolicy(
        strategy=policy.strategy,  # type: ignore[arg-type]
        base_seconds=policy.base_ms / 1000,
        factor=policy.factor_permille / 1000,
        cap_seconds=policy.cap_ms / 1000,
        jitter=policy.jitter_permille / 1000,
        delays_seconds=[ms / 1000 for ms in policy.delays_ms],
    )


def page(found: TaskPage) -> pb.ListTasksResponse:
    return pb.ListTasksResponse(
        tasks=[task(view) for view in found.tasks],
        total=found.total,
        limit=found.limit,
        offset=found.offset,
        next_cursor=str(found.next_cursor) if found.next_cursor else "",
    )


def stats(found: Stats) -> pb.Stats:
    fields = found._asdict()
    depths = {tier: fields.pop(f"depth_{tier}") for tier in ("high", "normal", "low")}
    fields["queues"] = [_queue(each) for each in found.queues]
    return pb.Stats(**fields, queue_depth_by_priority=pb.PriorityDepths(**depths))


def _queue(found: QueueStats) -> pb.QueueStats:
    fields = {name: value for name, value in found._asdict().items() if value != -1}  # -1: not known
    return pb.QueueStats(**fields)


def stamp(ms: int) -> Timestamp:
    """Wall time in milliseconds as a message."""
    seconds, rest = divmod(ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)
