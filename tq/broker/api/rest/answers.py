"""What bodies of answers look like, for OpenAPI. The documents themselves come from `tq.documents`.

Answers are not run through these models: they are made here, not taken in. A test holds real ones to the schema.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, WithJsonSchema

from tq.broker.access import Permission
from tq.broker.api.rest.schemas import Status, Strategy

Id: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Time: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Bytes: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "contentEncoding": "base64"})]


class ErrorBody(BaseModel):
    """Every error of every call. outcome says whether to try again."""

    error: str
    code: str
    outcome: Annotated[
        Literal["rejected", "unavailable", "unknown"],
        Field(
            description="rejected: it did not happen, and would not if sent again. unavailable: it did not happen, "
            "try again. unknown: it may have happened, try again with the same task_id."
        ),
    ]
    timestamp: Time


class SubmittedTask(BaseModel):
    task_id: Id
    status: Status
    created_at: Time


class SubmittedTasks(BaseModel):
    """The ids in the order of the tasks. existing: which places of the list were there already."""

    task_ids: list[Id]
    existing: list[int]


class TaskStatus(BaseModel):
    task_id: Id
    status: Status


class RetryPolicyShown(BaseModel):
    strategy: Strategy
    base_seconds: float
    factor: float
    cap_seconds: float
    jitter: float
    delays_seconds: list[float]


class AttemptShown(BaseModel):
    """One run. outcome: null while it runs."""

    number: int
    worker_id: str
    started_at: Time | None
    ended_at: Time | None
    outcome: str | None
    error: str | None
    fencing_token: int


class Progress(BaseModel):
    fraction: float
    text: str


class CountersShown(BaseModel):
    """How often each cause ended an attempt."""

    errors: int
    timeouts: int
    crashes: int
    leases_lost: int
    releases: int
    snoozes: int


class TaskShown(BaseModel):
    """Everything that is known of one task. state_reason: in words, why it stands where it stands."""

    task_id: Id
    task_type: str
    queue: str
    status: Status
    state_reason: str
    priority: int
    created_at: Time | None
    updated_at: Time | None
    started_at: Time | None
    ended_at: Time | None
    schedule_at: Time | None
    expires_at: Time | None
    timeout_seconds: float
    max_retries: int
    retry_count: int
    retry: RetryPolicyShown
    worker_id: str | None
    result: Bytes | None
    error: str | None
    progress: Progress | None
    attempts: list[AttemptShown]
    counters: CountersShown
    payload: Bytes | None
    payload_bytes: int | None
    result_bytes: int | None
    dependencies: list[Id]
    unique_key: str | None
    metadata: dict[str, str]


class TaskList(BaseModel):
    """A page, newest first. next_cursor: for the next page; null = this was the last one."""

    tasks: list[TaskShown]
    total: int
    limit: int
    offset: int
    next_cursor: str | None


class Tiers(BaseModel):
    """Waiting tasks of priority 200-255, 100-199 and 0-99."""

    high: int
    normal: int
    low: int


class QueueShown(BaseModel):
    """One queue. unserved: task types with waiting tasks that no connected worker serves."""

    queue: str
    pending: int
    in_progress: int
    scheduled: int
    blocked: int
    retrying: int
    dead_letter: int
    oldest_pending_age_ms: int
    paused: bool
    paused_reason: str
    unserved: list[str]
    in_per_minute: int | None
    out_per_minute: int | None


class TypeShown(BaseModel):
    """One task type of a queue. workers: the connected ones that serve it there."""

    task_type: str
    pending: int
    workers: int


class QueueWithTypes(QueueShown):
    task_types: list[TypeShown]


class QueueList(BaseModel):
    queues: list[QueueWithTypes]


class QueuePaused(BaseModel):
    queue: str
    paused: bool


class StatsShown(BaseModel):
    pending_count: int
    in_progress_count: int
    scheduled_count: int
    blocked_count: int
    retrying_count: int
    completed_count: int
    dead_letter_count: int
    cancelled_count: int
    expired_count: int
    completed_last_hour: int
    failed_last_hour: int
    worker_count: int
    avg_processing_time_ms: int
    oldest_pending_age_ms: int
    queue_depth_by_priority: Tiers
    queues: list[QueueShown]
    durability: str


class WorkerShown(BaseModel):
    worker_id: str
    session_id: Id
    host: str
    pid: int
    version: str
    status: Literal["active", "draining", "disconnected"]
    capacity: int
    queues: list[str]
    task_types: list[str]
    tasks: list[Id]
    cpu_percent: int
    memory_bytes: int
    last_heartbeat: Time | None
    connected_at: Time | None


class WorkerList(BaseModel):
    workers: list[WorkerShown]


class WorkerDrained(BaseModel):
    worker: str
    sessions: list[Id]
    status: Literal["draining"]


class Me(BaseModel):
    """The caller. keys_on: the broker asks for keys."""

    name: str
    permissions: list[Permission]
    keys_on: bool
    version: str
    node_id: str


class Depths(BaseModel):
    high: list[int | None]
    normal: list[int | None]
    low: list[int | None]


class Percentiles(BaseModel):
    p50: int | None
    p99: int | None


class LatencyShown(BaseModel):
    window_seconds: float
    queue_wait_ms: Percentiles
    run_ms: Percentiles


class SeriesShown(BaseModel):
    """One number a minute; null = not known. failed: attempts. depth: pending tasks at the minute's end."""

    now: Time
    start: Time
    step_seconds: int
    submitted: list[int | None]
    completed: list[int | None]
    failed: list[int | None]
    depth: Depths
    latency: LatencyShown


class FailureShown(BaseModel):
    """outcome: the attempt's; `dependency` when there was none. status: the task's, right after."""

    at: Time
    task_id: Id
    task_type: str
    queue: str
    status: Status
    attempt: int
    worker_id: str | None
    outcome: str
    error: str | None


class FailureList(BaseModel):
    failures: list[FailureShown]


class DeadLetterGroupShown(BaseModel):
    """Tasks of one type and queue whose errors differ in numbers, ids and quoted words only."""

    fingerprint: str
    task_type: str
    queue: str
    error: str
    count: int
    first_seen: Time
    last_seen: Time
    sample_task_id: Id


class DeadLetterGroups(BaseModel):
    """scanned: how many dead letters were looked at, the newest; complete: all of them."""

    groups: list[DeadLetterGroupShown]
    total: int
    scanned: int
    complete: bool


class ChangedTasks(BaseModel):
    """skipped: their status did not allow it, or they are not there. next_cursor: null = that was all."""

    done: int
    skipped: int
    next_cursor: str | None


class MemberShown(BaseModel):
    node_id: str
    address: str
    role: str
    term: int
    commit_index: int
    applied_index: int
    lag: int
    is_self: bool
    is_joining: bool
    client_address: str
    first_index: int
    last_index: int
    snapshot_age_ms: int | None
    version: str


class ClusterShown(BaseModel):
    leader: str | None
    members: list[MemberShown]


class HealthShown(BaseModel):
    status: Literal["healthy", "degraded"]
    is_leader: bool
    leader: str | None
    connected_workers: int
    pending_tasks: int
    durability: str
    problems: list[str]


class Alive(BaseModel):
    status: str


class PurgedTasks(BaseModel):
    """more: as many as the limit are gone and there are others; call again."""

    purged: int
    more: bool


ALL: tuple[type[BaseModel], ...] = (
    ErrorBody,
    SubmittedTask,
    SubmittedTasks,
    TaskStatus,
    TaskShown,
    TaskList,
    QueueList,
    QueuePaused,
    WorkerDrained,
    Me,
    SeriesShown,
    FailureList,
    DeadLetterGroups,
    ChangedTasks,
    StatsShown,
    WorkerList,
    ClusterShown,
    HealthShown,
    Alive,
    PurgedTasks,
)
"""Whole answers; what they are made of comes along."""
