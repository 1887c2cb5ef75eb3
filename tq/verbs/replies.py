"""What requests are answered with, and what replies are made of."""

from __future__ import annotations

from typing import NamedTuple

from tq.task import TaskView


class Done(NamedTuple):
    """It is done and there is nothing more to say."""


class Existing(NamedTuple):
    """A task of a Submit that existed already, by id or by unique key."""

    position: int
    task_id: bytes
    created_ms: int


class Submitted(NamedTuple):
    """created_ms: of all the new ones. states: one byte (a State) per task, in order."""

    created_ms: int
    states: bytes
    existing: tuple[Existing, ...] = ()


class TaskRef(NamedTuple):
    """A task and the state it is in now."""

    task_id: bytes
    state: int


class Watching(NamedTuple):
    """ended: views (with results) of those that had ended already. unknown: ids no task has."""

    ended: tuple[TaskView, ...] = ()
    unknown: tuple[bytes, ...] = ()


class TaskPage(NamedTuple):
    """next_cursor: 0 = no more. total: how many match in all."""

    tasks: tuple[TaskView, ...]
    total: int
    limit: int
    offset: int
    next_cursor: int


class Purged(NamedTuple):
    purged: int
    more: bool


class QueueStats(NamedTuple):
    """One queue. unserved: task types with waiting tasks that no connected worker serves.

    in_per_minute, out_per_minute: tasks that came, that ended, within the last minute; -1 = not known yet.
    """

    queue: str
    pending: int
    in_progress: int
    scheduled: int
    blocked: int
    retrying: int
    dead_letter: int
    oldest_pending_age_ms: int
    paused: bool = False
    paused_reason: str = ""
    unserved: tuple[str, ...] = ()
    in_per_minute: int = -1
    out_per_minute: int = -1


class Stats(NamedTuple):
    """Names are the contract's. processing times and the last hour count whole minutes."""

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
    depth_high: int
    depth_normal: int
    depth_low: int
    queues: tuple[QueueStats, ...]
    durability: str = "strict"


class WorkerView(NamedTuple):
    """status: `active`, `draining` (capacity 0) or `disconnected` (within its grace)."""

    worker_id: str
    session_id: bytes
    host: str
    pid: int
    version: str
    status: str
    capacity: int
    queues: tuple[str, ...]
    task_types: tuple[str, ...]
    task_ids: tuple[bytes, ...]
    cpu_percent: int
    memory_bytes: int
    last_heartbeat_ms: int
    connected_ms: int


class Workers(NamedTuple):
    workers: tuple[WorkerView, ...]


class Member(NamedTuple):
    """role: leader, follower, candidate, observer, standalone; unreachable for one that does not answer.

    address: where its peers reach it. lag: entries behind the leader. is_self: the one that answers.
    is_joining: an observer that votes as soon as it has caught up. client_address: where its clients go, empty = not
    known. first_index, last_index: of the entries it holds. snapshot_age_ms: of the newest snapshot it made or took
    over since it started, -1 = none.
    """

    node_id: str
    address: str
    role: str
    term: int
    commit_index: int
    applied_index: int
    lag: int = 0
    is_self: bool = False
    is_joining: bool = False
    client_address: str = ""
    first_index: int = 0
    last_index: int = 0
    snapshot_age_ms: int = -1
    version: str = ""


class Cluster(NamedTuple):
    """leader: its node id, empty = none is known."""

    members: tuple[Member, ...]
    leader: str


class Health(NamedTuple):
    """status: `healthy` or `degraded`; problems say in words what is wrong."""

    status: str
    is_leader: bool
    leader: str
    connected_workers: int
    pending_tasks: int
    durability: str
    problems: tuple[str, ...] = ()


class BackedUp(NamedTuple):
    """at_index: the log index the copy stands at."""

    directory: str
    at_index: int
    bytes: int
    files: int


class Registered(NamedTuple):
    """lost: the (task_id, token) of `holds` that this session no longer holds: stop and forget them.

    grace_ms: how long a disconnected worker keeps its leases.
    """

    lost: tuple[tuple[bytes, int], ...]
    grace_ms: int


class Settled(NamedTuple):
    """codes: one byte per item, in order: SETTLED_OK or SETTLED_LEASE_LOST."""

    codes: bytes


SETTLED_OK, SETTLED_LEASE_LOST = 0, 1


class Delivery(NamedTuple):
    """One leased task. token: fencing token; grows with every lease of the task. attempt: 1 is the first."""

    task_id: bytes
    token: int
    task_type: str
    payload: bytes
    attempt: int
    timeout_ms: int
    queue: str
    priority: int
    created_ms: int
    max_retries: int
    metadata: dict[str, str] = {}  # noqa: RUF012  never written to


class Claimed(NamedTuple):
    tasks: tuple[Delivery, ...]
