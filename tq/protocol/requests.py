"""What a broker reads: the shape of a task and of every request, with all bounds."""

from __future__ import annotations

from typing import Any

from tq import verbs
from tq.protocol import limits
from tq.protocol.fields import Blob, Fault, Field, Flag, Id, Line, Many, Metadata, Optional, Text, Whole
from tq.protocol.records import Record, Ruled
from tq.retry import CUSTOM, CUSTOM_DELAYS_MAX, DELAY_MS_MAX, STRATEGIES, RetryPolicy
from tq.task import (
    COMPLETED,
    DEPENDENCIES_MAX,
    ENDED_STATES,
    ERROR_CHARS_MAX,
    NAME_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    PRIORITY_MAX,
    RETRIES_MAX,
    TIMEOUT_MS_MAX,
    UNIQUE_KEY_CHARS_MAX,
    Cause,
    EndedTask,
    TaskSpec,
)

# ---------------------------------------------------------------- kinds that many records use

ID = Id()
NUMBER = Whole()
FLAG = Flag()
NAME = Line(NAME_CHARS_MAX, chars_min=1)
NAME_OR_NONE = Line(NAME_CHARS_MAX)
NOTE = Line(limits.TEXT_CHARS_MAX)
PAYLOAD = Blob(PAYLOAD_BYTES_MAX)
TIME = Whole(0, limits.TIME_MS_MAX)
DELAY = Whole(0, DELAY_MS_MAX)
STATE = Whole(0, ENDED_STATES[-1])

# ---------------------------------------------------------------- tasks

POLICY = Record(
    RetryPolicy,
    strategy=Whole(0, len(STRATEGIES) - 1),
    base_ms=DELAY,
    factor_permille=Whole(1000, limits.FACTOR_PERMILLE_MAX),
    cap_ms=DELAY,
    jitter_permille=Whole(0, 1000),
    delays_ms=Many(DELAY, CUSTOM_DELAYS_MAX),
)


def _has_its_delays(policy: tuple[Any, ...]) -> None:
    if policy[0] == CUSTOM and not policy[-1]:
        raise Fault(f"0 items; the custom strategy takes 1 to {CUSTOM_DELAYS_MAX}").inside(".delays_ms")


RETRY = Ruled(POLICY, _has_its_delays, given="strategy")


def _has_its_key(task: tuple[Any, ...]) -> None:
    if not task[12]:
        raise Fault("is given without a unique_key").inside(".unique_ttl_ms")


TASK = Record(
    TaskSpec,
    task_id=ID,
    task_type=NAME,
    payload=PAYLOAD,
    queue=NAME,
    priority=Whole(0, PRIORITY_MAX),
    schedule_at_ms=TIME,
    delay_ms=DELAY,
    timeout_ms=Whole(1, TIMEOUT_MS_MAX),
    max_retries=Whole(0, RETRIES_MAX),
    retry=Optional(RETRY),
    dependencies=Many(ID, DEPENDENCIES_MAX, distinct=True),
    expires_at_ms=TIME,
    unique_key=Line(UNIQUE_KEY_CHARS_MAX),
    unique_ttl_ms=DELAY,
    metadata=Metadata(),
)
NEW_TASK = Ruled(TASK, _has_its_key, given="unique_ttl_ms")
TASKS = Many(NEW_TASK, limits.BATCH_ITEMS_MAX, distinct=True, alike=True)

ENDED_TASK = Record(
    EndedTask,
    task_id=ID,
    task_type=NAME,
    state=Whole(COMPLETED, ENDED_STATES[-1]),
    payload=PAYLOAD,
    result=PAYLOAD,
    error=Text(ERROR_CHARS_MAX, cut=True),
    queue=NAME,
    priority=Whole(0, PRIORITY_MAX),
    timeout_ms=Whole(1, TIMEOUT_MS_MAX),
    max_retries=Whole(0, RETRIES_MAX),
    retry=Optional(RETRY),
    failures=Whole(0, RETRIES_MAX + 1),
    worker_id=NAME_OR_NONE,
    created_ms=TIME,
    started_ms=TIME,
    ended_ms=TIME,
    metadata=Metadata(),
)

# ---------------------------------------------------------------- requests

SETTLE_ITEM = Record(
    verbs.SettleItem,
    task_id=ID,
    token=NUMBER,
    cause=Whole(0, max(Cause)),
    result=PAYLOAD,
    error=Text(ERROR_CHARS_MAX, cut=True),
    delay_ms=Whole(-1, DELAY_MS_MAX),
)
HELD = Record(tuple, task_id=ID, token=NUMBER)
_EXTENSION = Record(tuple, task_id=ID, token=NUMBER, ms=Whole(1, TIMEOUT_MS_MAX))
_PROGRESS = Record(tuple, task_id=ID, permille=Whole(0, 1000), text=Text(limits.PROGRESS_CHARS_MAX, cut=True))
_CAPACITY = Whole(0, limits.CAPACITY_MAX)
_CONSISTENCY = Whole(verbs.LOCAL, verbs.LINEARIZABLE)
_FINGERPRINT = Line(limits.FINGERPRINT_CHARS_MAX)
_MANY: dict[str, Field] = {
    "task_ids": Many(ID, limits.CHANGE_TASKS_MAX, distinct=True),
    "state": STATE,
    "task_type": NAME_OR_NONE,
    "queue": NAME_OR_NONE,
    "limit": Whole(1, limits.CHANGE_TASKS_MAX),
    "cursor": NUMBER,
}
"""What is the same in the requests about many tasks."""

REQUESTS: dict[type[tuple[Any, ...]], Record] = {
    record.kind: record
    for record in (
        Record(verbs.Submit, tasks=TASKS),
        Record(
            verbs.GetTask,
            task_id=ID,
            wait_ms=Whole(0, limits.GET_WAIT_MS_MAX),
            with_payload=FLAG,
            consistency=_CONSISTENCY,
            with_result=FLAG,
        ),
        Record(verbs.Watch, task_ids=Many(ID, limits.BATCH_ITEMS_MAX, distinct=True)),
        Record(verbs.Cancel, task_id=ID, force=FLAG),
        Record(verbs.Retry, task_id=ID, max_retries=Whole(-1, RETRIES_MAX)),
        Record(
            verbs.ListTasks,
            state=STATE,
            task_type=NAME_OR_NONE,
            queue=NAME_OR_NONE,
            limit=Whole(1, limits.PAGE_TASKS_MAX),
            offset=Whole(0, limits.PAGE_OFFSET_MAX),
            cursor=NUMBER,
            consistency=_CONSISTENCY,
            worker_id=NAME_OR_NONE,
            fingerprint=_FINGERPRINT,
            oldest_first=FLAG,
            with_result=FLAG,
        ),
        Record(
            verbs.Purge,
            state=Whole(1, ENDED_STATES[-1]),
            older_than_ms=NUMBER,
            queue=NAME_OR_NONE,
            task_type=NAME_OR_NONE,
            limit=Whole(1, limits.PURGE_TASKS_MAX),
        ),
        Record(verbs.PauseQueue, queue=NAME, reason=NOTE),
        Record(verbs.ResumeQueue, queue=NAME),
        Record(verbs.GetStats, consistency=_CONSISTENCY),
        Record(verbs.ListWorkers),
        Record(verbs.GetCluster, own=FLAG),
        Record(verbs.GetHealth),
        Record(
            verbs.AddNode,
            node_id=NAME,
            address=Line(limits.TEXT_CHARS_MAX, chars_min=1),
            votes=FLAG,
        ),
        Record(verbs.DrainWorker, worker=NAME),
        Record(verbs.GetSeries),
        Record(verbs.ListQueues),
        Record(verbs.ListFailures, limit=Whole(1, limits.FAILURES_MAX)),
        Record(verbs.GroupDeadLetters, task_type=NAME_OR_NONE, queue=NAME_OR_NONE),
        Record(verbs.CancelMany, **_MANY, force=FLAG),
        Record(verbs.RetryMany, **_MANY, fingerprint=_FINGERPRINT, max_retries=Whole(-1, RETRIES_MAX)),
        Record(verbs.ForgetMany, **_MANY, fingerprint=_FINGERPRINT),
        Record(verbs.Import, tasks=Many(ENDED_TASK, limits.CHANGE_TASKS_MAX, distinct=True, alike=True)),
        Record(verbs.RemoveNode, node_id=NAME),
        Record(verbs.TransferLeadership, node_id=NAME_OR_NONE),
        Record(verbs.Backup, directory=Line(limits.PATH_CHARS_MAX, chars_min=1)),
        Record(
            verbs.Register,
            session_id=ID,
            worker_id=NAME,
            queues=Many(NAME, limits.NAMES_MAX, items_min=1),
            task_types=Many(NAME, limits.NAMES_MAX, items_min=1),
            capacity=_CAPACITY,
            holds=Many(HELD, limits.BATCH_ITEMS_MAX, distinct=True),
            heartbeat_ms=Whole(limits.HEARTBEAT_MS_MIN, limits.HEARTBEAT_MS_MAX),
            host=NOTE,
            pid=NUMBER,
            version=NOTE,
        ),
        Record(
            verbs.Heartbeat,
            running=_CAPACITY,
            cpu_percent=NUMBER,
            memory_bytes=NUMBER,
            progress=Many(_PROGRESS, limits.BATCH_ITEMS_MAX),
        ),
        Record(verbs.SetCapacity, capacity=_CAPACITY),
        Record(
            verbs.Claim,
            limit=Whole(1, limits.CLAIM_TASKS_MAX),
            wait_ms=Whole(0, limits.CLAIM_WAIT_MS_MAX),
        ),
        Record(verbs.Settle, items=Many(SETTLE_ITEM, limits.BATCH_ITEMS_MAX)),
        Record(verbs.Extend, items=Many(_EXTENSION, limits.BATCH_ITEMS_MAX)),
        Record(verbs.Deregister),
        Record(verbs.Ping),
    )
}
"""request class -> its record, bounded; total over Request (a test checks it)."""
