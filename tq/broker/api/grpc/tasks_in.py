"""From messages to verbs: what clients send. Pure; what is out of bounds is found by `check_request`, not here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tq.broker.api.grpc.findings import Findings
from tq.errors import BadRequest, PayloadTooLarge, TqError
from tq.proto import taskqueue_pb2 as pb
from tq.protocol.limits import FACTOR_PERMILLE_MAX, GET_WAIT_MS_MAX
from tq.protocol.validate import check_tasks
from tq.retry import DEFAULT_RETRY, DELAY_MS_MAX, RetryPolicy
from tq.task import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT_MS,
    TIMEOUT_MS_MAX,
    TaskSpec,
)
from tq.verbs import LEADER, LINEARIZABLE, LOCAL, ListTasks, Submit

LIST_LIMIT = 100
_LEVELS: dict[int, int] = {
    pb.CONSISTENCY_LEADER: LEADER,
    pb.CONSISTENCY_LOCAL: LOCAL,
    pb.CONSISTENCY_LINEARIZABLE: LINEARIZABLE,
}


def submit_of(tasks: Sequence[pb.TaskSpec], *, new_id: Callable[[], bytes], batch: bool) -> Submit:
    """One submit of these tasks. batch: whether errors name the task's place.

    Raises BadRequest that names each wrong field, PayloadTooLarge.
    """
    found = Findings()
    specs = []
    for position, task in enumerate(tasks):
        place = f"tasks[{position}]." if batch else "task."
        specs.append(_spec_of(task, place, new_id, found))
    try:
        checked = check_tasks(specs)
    except (BadRequest, PayloadTooLarge) as error:
        raise found.error(error if batch else _without_place(error)) from None
    found.tell()
    return Submit(checked)


def _without_place(error: TqError) -> TqError:
    return type(error)(error.text.replace("tasks[0].", "task."))


def _spec_of(task: pb.TaskSpec, place: str, new_id: Callable[[], bytes], found: Findings) -> TaskSpec:
    timeout_ms = DEFAULT_TIMEOUT_MS
    if task.HasField("timeout_seconds"):
        timeout_ms = found.ms(task.timeout_seconds, place + "timeout_seconds", TIMEOUT_MS_MAX, low_ms=1)
    unique_ttl_ms = 0
    if task.unique_ttl_seconds:
        unique_ttl_ms = found.ms(task.unique_ttl_seconds, place + "unique_ttl_seconds", DELAY_MS_MAX)
        if not task.unique_key:
            unique_ttl_ms = 0
            found.wrong(place + "unique_ttl_seconds", "is given without a unique_key")
    return TaskSpec(
        (found.id(task.task_id, place + "task_id") if task.task_id else b"") or new_id(),
        task.task_type,
        task.payload,
        task.queue or DEFAULT_QUEUE,
        task.priority if task.HasField("priority") else DEFAULT_PRIORITY,
        found.moment(task.schedule_at, place + "schedule_at") if task.HasField("schedule_at") else 0,
        found.ms(task.delay_seconds, place + "delay_seconds", DELAY_MS_MAX) if task.delay_seconds else 0,
        timeout_ms,
        task.max_retries if task.HasField("max_retries") else DEFAULT_MAX_RETRIES,
        _policy_of(task.retry, place + "retry.", found) if task.HasField("retry") else None,
        _ids_of(task.dependencies, place + "dependencies", found),
        found.moment(task.expires_at, place + "expires_at") if task.HasField("expires_at") else 0,
        task.unique_key,
        unique_ttl_ms,
        dict(task.metadata),
    )


def _ids_of(texts: Sequence[str], field: str, found: Findings) -> tuple[bytes, ...]:
    if not texts:
        return ()
    ids = (found.id(text, f"{field}[{place}]") for place, text in enumerate(texts))
    return tuple(each for each in ids if each)


def _policy_of(policy: pb.RetryPolicy, place: str, found: Findings) -> RetryPolicy:
    """Factors are thousandths as seconds are milliseconds, so all numbers are read alike."""
    made = DEFAULT_RETRY._replace(strategy=policy.strategy)
    if policy.HasField("base_seconds"):
        made = made._replace(base_ms=found.ms(policy.base_seconds, place + "base_seconds", DELAY_MS_MAX))
    if policy.HasField("factor"):
        permille = found.ms(policy.factor, place + "factor", FACTOR_PERMILLE_MAX, low_ms=1000)
        made = made._replace(factor_permille=permille)
    if policy.HasField("cap_seconds"):
        made = made._replace(cap_ms=found.ms(policy.cap_seconds, place + "cap_seconds", DELAY_MS_MAX))
    if policy.HasField("jitter"):
        made = made._replace(jitter_permille=found.ms(policy.jitter, place + "jitter", 1000))
    field = place + "delays_seconds"
    return made._replace(
        delays_ms=tuple(
            found.ms(each, f"{field}[{number}]", DELAY_MS_MAX)
            for number, each in enumerate(policy.delays_seconds)
        )
    )


def look_of(request: pb.GetTaskStatusRequest) -> tuple[bytes, int]:
    """(task id, milliseconds to wait). Raises BadRequest that names each wrong field."""
    found = Findings()
    task_id = found.id(request.task_id, "task_id")
    wait_ms = found.ms(request.wait_seconds, "wait_seconds", GET_WAIT_MS_MAX)
    found.tell()
    return task_id, wait_ms


def list_of(request: pb.ListTasksRequest) -> ListTasks:
    """Raises BadRequest that names each wrong field."""
    found = Findings()
    cursor = 0
    if request.cursor:
        if request.cursor.isascii() and request.cursor.isdigit() and len(request.cursor) < 20:
            cursor = int(request.cursor)
        else:
            found.wrong("cursor", f"{request.cursor[:40]!r} is not the next_cursor of a page")
    return found.check(
        ListTasks(
            request.status,
            request.task_type,
            request.queue,
            request.limit or LIST_LIMIT,
            request.offset,
            cursor,
            consistency=level_of(request.consistency),
        )
    )


def level_of(consistency: int) -> int:
    """A Consistency of the .proto as the verbs' own. Raises BadRequest."""
    level = _LEVELS.get(consistency)
    if level is None:
        raise BadRequest(f"consistency: {consistency} is no Consistency")
    return level
