"""From messages to verbs: what clients send. Pure; what is out of bounds is found by `check_request`, not here."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from tq.broker.api.grpc.ids import read_id
from tq.errors import BadRequest, PayloadTooLarge, TqError
from tq.proto import taskqueue_pb2 as pb
from tq.protocol.limits import FACTOR_PERMILLE_MAX, TIME_MS_MAX
from tq.protocol.validate import check_request, check_tasks
from tq.retry import DEFAULT_RETRY, DELAY_MS_MAX, RetryPolicy
from tq.task import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT_MS,
    TIMEOUT_MS_MAX,
    TaskSpec,
)
from tq.verbs import ListTasks, Submit

LIST_LIMIT = 100
NUMBER_MAX = 2.0**53
"""From here on arithmetic loses whole numbers; no bound is anywhere near."""


def submit_of(tasks: list[pb.TaskSpec], *, new_id: Callable[[], bytes], batch: bool) -> Submit:
    """One submit of these tasks. batch: whether errors name the task's place. Raises BadRequest, PayloadTooLarge."""
    specs = []
    for position, task in enumerate(tasks):
        place = f"tasks[{position}]." if batch else "task."
        specs.append(_spec_of(task, place, new_id))
    try:
        return Submit(check_tasks(specs))
    except (BadRequest, PayloadTooLarge) as error:
        raise _without_place(error, batch) from None


def _without_place(error: TqError, batch: bool) -> TqError:
    return error if batch else type(error)(error.text.replace("tasks[0].", "task.", 1))


def _spec_of(task: pb.TaskSpec, place: str, new_id: Callable[[], bytes]) -> TaskSpec:
    timeout_ms = DEFAULT_TIMEOUT_MS
    if task.HasField("timeout_seconds"):
        timeout_ms = to_ms(task.timeout_seconds, place + "timeout_seconds", TIMEOUT_MS_MAX, low_ms=1)
    return TaskSpec(
        read_id(task.task_id, place + "task_id") if task.task_id else new_id(),
        task.task_type,
        task.payload,
        task.queue or DEFAULT_QUEUE,
        task.priority if task.HasField("priority") else DEFAULT_PRIORITY,
        _moment(task.schedule_at, place + "schedule_at") if task.HasField("schedule_at") else 0,
        to_ms(task.delay_seconds, place + "delay_seconds", DELAY_MS_MAX) if task.delay_seconds else 0,
        timeout_ms,
        task.max_retries if task.HasField("max_retries") else DEFAULT_MAX_RETRIES,
        _policy_of(task.retry, place + "retry.") if task.HasField("retry") else None,
        tuple(read_id(text, place + "dependencies") for text in task.dependencies),
        _moment(task.expires_at, place + "expires_at") if task.HasField("expires_at") else 0,
        task.unique_key,
        to_ms(task.unique_ttl_seconds, place + "unique_ttl_seconds", DELAY_MS_MAX)
        if task.unique_ttl_seconds
        else 0,
        dict(task.metadata),
    )


def _policy_of(policy: pb.RetryPolicy, place: str) -> RetryPolicy:
    """Factors are thousandths as seconds are milliseconds, so all numbers are read alike."""
    found = DEFAULT_RETRY._replace(strategy=policy.strategy)
    if policy.HasField("base_seconds"):
        found = found._replace(base_ms=to_ms(policy.base_seconds, place + "base_seconds", DELAY_MS_MAX))
    if policy.HasField("factor"):
        permille = to_ms(policy.factor, place + "factor", FACTOR_PERMILLE_MAX, low_ms=1000)
        found = found._replace(factor_permille=permille)
    if policy.HasField("cap_seconds"):
        found = found._replace(cap_ms=to_ms(policy.cap_seconds, place + "cap_seconds", DELAY_MS_MAX))
    if policy.HasField("jitter"):
        found = found._replace(jitter_permille=to_ms(policy.jitter, place + "jitter", 1000))
    delays = tuple(to_ms(each, place + "delays_seconds", DELAY_MS_MAX) for each in policy.delays_seconds)
    return found._replace(delays_ms=delays)


def list_of(request: pb.ListTasksRequest) -> ListTasks:
    """Raises BadRequest."""
    cursor = 0
    if request.cursor:
        if not (request.cursor.isascii() and request.cursor.isdigit() and len(request.cursor) < 20):
            raise BadRequest(f"cursor: {request.cursor[:40]!r} is not the next_cursor of a page")
        cursor = int(request.cursor)
    return check_request(
        ListTasks(
            request.status,
            request.task_type,
            request.queue,
            request.limit or LIST_LIMIT,
            request.offset,
            cursor,
        )
    )


def to_ms(number: float, field: str, high_ms: int, *, low_ms: int = 0) -> int:
    """Seconds as whole milliseconds, or anything else as thousandths. Raises BadRequest when out of bounds."""
    # The first comparison is false for NaN; rounding infinity would raise.
    if not -NUMBER_MAX < number < NUMBER_MAX or not low_ms <= (found := round(number * 1000)) <= high_ms:
        raise BadRequest(f"{field}: {number:g} is out of range; {low_ms / 1000:g} to {high_ms / 1000:g}")
    return found


def _moment(moment: Timestamp, field: str) -> int:
    """Wall time in milliseconds; up to a millisecond earlier than said. Raises BadRequest."""
    ms = moment.seconds * 1000 + moment.nanos // 1_000_000
    if not 0 < ms <= TIME_MS_MAX:
        raise BadRequest(f"{field}: not between 1970 and 9999")
    return ms
