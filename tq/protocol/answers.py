"""What a client or worker reads: the shape of every reply and push of its broker.

Types and form are checked, bounds only where memory is at stake, so that a newer broker may know more states, causes
and words than this side does.
"""

from __future__ import annotations

from typing import Any

from tq import verbs
from tq.protocol import limits
from tq.protocol.fields import Blob, Line, Many, Metadata, Optional, Text, Whole
from tq.protocol.records import Record
from tq.protocol.requests import FLAG, HELD, ID, NUMBER, PAYLOAD, POLICY
from tq.task import Attempt, Counters, TaskView

_WORD = Line(limits.TEXT_CHARS_MAX)
_WORDS = Text(limits.PEER_TEXT_CHARS_MAX)
_LIST = limits.PEER_LIST_ITEMS_MAX
_NUMBER_OR_NONE = Whole(-1)
_NUMBERS = Many(_NUMBER_OR_NONE, _LIST)

_COUNTERS = Record(Counters, **dict.fromkeys(Counters._fields, NUMBER))
_ATTEMPT = Record(
    Attempt,
    number=NUMBER,
    worker_id=_WORD,
    token=NUMBER,
    started_ms=NUMBER,
    ended_ms=NUMBER,
    cause=NUMBER,
    error=_WORDS,
)
VIEW = Record(
    TaskView,
    task_id=ID,
    task_type=_WORD,
    queue=_WORD,
    state=NUMBER,
    state_reason=_WORDS,
    priority=NUMBER,
    created_ms=NUMBER,
    updated_ms=NUMBER,
    schedule_at_ms=NUMBER,
    timeout_ms=NUMBER,
    max_retries=NUMBER,
    retry_count=NUMBER,
    worker_id=_WORD,
    result=Optional(PAYLOAD),
    error=_WORDS,
    attempts=Many(_ATTEMPT, _LIST),
    counters=_COUNTERS,
    payload=Optional(PAYLOAD),
    payload_bytes=_NUMBER_OR_NONE,
    started_ms=NUMBER,
    ended_ms=NUMBER,
    token=NUMBER,
    expires_at_ms=NUMBER,
    retry=POLICY,
    dependencies=Many(ID, _LIST),
    unique_key=_WORD,
    metadata=Metadata(),
    progress=Optional(Record(tuple, permille=NUMBER, text=_WORDS)),
    result_bytes=_NUMBER_OR_NONE,
)
_VIEWS = Many(VIEW, _LIST)
DELIVERY = Record(
    verbs.Delivery,
    task_id=ID,
    token=NUMBER,
    task_type=_WORD,
    payload=PAYLOAD,
    attempt=NUMBER,
    timeout_ms=NUMBER,
    queue=_WORD,
    priority=NUMBER,
    created_ms=NUMBER,
    max_retries=NUMBER,
    metadata=Metadata(),
)
_DELIVERIES = Many(DELIVERY, _LIST)
_QUEUE_STATS = Record(
    verbs.QueueStats,
    queue=_WORD,
    pending=NUMBER,
    in_progress=NUMBER,
    scheduled=NUMBER,
    blocked=NUMBER,
    retrying=NUMBER,
    dead_letter=NUMBER,
    oldest_pending_age_ms=NUMBER,
    paused=FLAG,
    paused_reason=_WORDS,
    unserved=Many(_WORD, _LIST),
    in_per_minute=_NUMBER_OR_NONE,
    out_per_minute=_NUMBER_OR_NONE,
)
_WORKER = Record(
    verbs.WorkerView,
    worker_id=_WORD,
    session_id=ID,
    host=_WORD,
    pid=NUMBER,
    version=_WORD,
    status=_WORD,
    capacity=NUMBER,
    queues=Many(_WORD, _LIST),
    task_types=Many(_WORD, _LIST),
    task_ids=Many(ID, _LIST),
    cpu_percent=NUMBER,
    memory_bytes=NUMBER,
    last_heartbeat_ms=NUMBER,
    connected_ms=NUMBER,
)
_MEMBER = Record(
    verbs.Member,
    node_id=_WORD,
    address=_WORD,
    role=_WORD,
    term=NUMBER,
    commit_index=NUMBER,
    applied_index=NUMBER,
    lag=NUMBER,
    is_self=FLAG,
    is_joining=FLAG,
    client_address=_WORD,
    first_index=NUMBER,
    last_index=NUMBER,
    snapshot_age_ms=Whole(-1),
    version=_WORD,
)
_TYPE_STATS = Record(verbs.TypeStats, task_type=_WORD, pending=NUMBER, workers=NUMBER)
_QUEUE_VIEW = Record(verbs.QueueView, stats=_QUEUE_STATS, task_types=Many(_TYPE_STATS, _LIST))
_LATENCY = Record(
    verbs.Latency,
    window_ms=NUMBER,
    **dict.fromkeys(verbs.Latency._fields[1:], _NUMBER_OR_NONE),
)
_FAILURE = Record(
    verbs.Failure,
    at_ms=NUMBER,
    task_id=ID,
    task_type=_WORD,
    queue=_WORD,
    state=NUMBER,
    attempt=NUMBER,
    worker_id=_WORD,
    cause=_NUMBER_OR_NONE,
    error=_WORDS,
)
_DEAD_LETTER_GROUP = Record(
    verbs.DeadLetterGroup,
    fingerprint=_WORD,
    task_type=_WORD,
    queue=_WORD,
    error=_WORDS,
    tasks=NUMBER,
    first_ms=NUMBER,
    last_ms=NUMBER,
    task_id=ID,
)
_EXISTING = Record(verbs.Existing, position=NUMBER, task_id=ID, created_ms=NUMBER)
_CODES = Blob(limits.BATCH_ITEMS_MAX)

REPLIES: dict[type[tuple[Any, ...]], Record] = {
    record.kind: record
    for record in (
        Record(verbs.Done),
        Record(verbs.Submitted, created_ms=NUMBER, states=_CODES, existing=Many(_EXISTING, _LIST)),
        Record(verbs.TaskRef, task_id=ID, state=NUMBER),
        VIEW,
        Record(verbs.Watching, ended=_VIEWS, unknown=Many(ID, _LIST)),
        Record(verbs.TaskPage, tasks=_VIEWS, total=NUMBER, limit=NUMBER, offset=NUMBER, next_cursor=NUMBER),
        Record(verbs.Purged, purged=NUMBER, more=FLAG),
        Record(
            verbs.Stats,
            **dict.fromkeys(verbs.Stats._fields[:-2], NUMBER),
            queues=Many(_QUEUE_STATS, _LIST),
            durability=_WORD,
        ),
        Record(verbs.Workers, workers=Many(_WORKER, _LIST)),
        Record(verbs.Cluster, members=Many(_MEMBER, _LIST), leader=_WORD),
        Record(
            verbs.Health,
            status=_WORD,
            is_leader=FLAG,
            leader=_WORD,
            connected_workers=NUMBER,
            pending_tasks=NUMBER,
            durability=_WORD,
            problems=Many(_WORDS, _LIST),
        ),
        Record(verbs.BackedUp, directory=_WORDS, at_index=NUMBER, bytes=NUMBER, files=NUMBER),
        Record(verbs.Drained, session_ids=Many(ID, _LIST)),
        Record(
            verbs.Series,
            now_ms=NUMBER,
            start_ms=NUMBER,
            **dict.fromkeys(("submitted", "completed", "failed", "high", "normal", "low"), _NUMBERS),
            latency=_LATENCY,
        ),
        Record(verbs.Queues, queues=Many(_QUEUE_VIEW, _LIST)),
        Record(verbs.Failures, failures=Many(_FAILURE, _LIST)),
        Record(verbs.DeadLetters, groups=Many(_DEAD_LETTER_GROUP, _LIST), total=NUMBER, scanned=NUMBER),
        Record(verbs.Changed, done=NUMBER, skipped=NUMBER, next_cursor=NUMBER),
        Record(verbs.Registered, lost=Many(HELD, _LIST), grace_ms=NUMBER),
        Record(verbs.Settled, codes=_CODES),
        Record(verbs.Claimed, tasks=_DELIVERIES),
    )
}
"""reply class -> its record; total over Reply (a test checks it)."""

PUSHES: dict[type[tuple[Any, ...]], Record] = {
    record.kind: record
    for record in (
        Record(verbs.Deliver, tasks=_DELIVERIES),
        Record(verbs.Abort, items=Many(Record(tuple, task_id=ID, token=NUMBER, reason=_WORDS), _LIST)),
        Record(verbs.TaskEnded, tasks=_VIEWS),
        Record(verbs.Draining, retry_after_ms=NUMBER, reason=_WORDS),
        Record(verbs.Drain, reason=_WORDS),
    )
}
"""push class -> its record; total over Push (a test checks it)."""
