"""The vocabulary: one small value class per request, reply and push.

Every door turns its input into one of these, the service answers with one of these, client and worker speak
these. A NamedTuple packs as an array in field order, so a class is also its own wire form. Fields are only ever
added at the end, with a default: an older peer leaves them out, a newer one's extra fields are ignored.

Requests come from clients (role `client`) and workers (role `worker`). Each is answered once, with the reply
class named beside it or with an error from `tq.errors`. Pushes come from the broker without being asked.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tq.task import TaskSpec, TaskView

# ---------------------------------------------------------------- requests about tasks


class Submit(NamedTuple):
    """Put tasks on their queues, all or none. -> Submitted"""

    tasks: tuple[TaskSpec, ...]


class GetTask(NamedTuple):
    """One task, as it is or, with wait_ms, as soon as it has ended or wait_ms have passed. -> TaskView

    consistency: 0 local, 1 leader, 2 linearizable; one node answers all alike.
    """

    task_id: bytes
    wait_ms: int = 0
    with_payload: bool = False
    consistency: int = 1


class Watch(NamedTuple):
    """Tell when these tasks end. -> Watching, then one TaskEnded push each as long as the connection lives."""

    task_ids: tuple[bytes, ...]


class Cancel(NamedTuple):
    """End a task that waits; with force, one that runs too. -> TaskRef"""

    task_id: bytes
    force: bool = False


class Retry(NamedTuple):
    """Put a dead-lettered or cancelled task back to pending with its counters reset. -> TaskRef

    max_retries: -1 keeps the task's own.
    """

    task_id: bytes
    max_retries: int = -1


class ListTasks(NamedTuple):
    """A page of tasks, newest first. -> TaskPage

    state: 0 = every state. task_type, queue: empty = every one. limit: 1-1000.
    cursor: a page's next_cursor, 0 = from the newest; stays right while tasks move. offset: skips, 0-100,000.
    """

    state: int = 0
    task_type: str = ""
    queue: str = ""
    limit: int = 100
    offset: int = 0
    cursor: int = 0


class Purge(NamedTuple):
    """Forget ended tasks of one state, or cancel-and-forget waiting ones. -> Purged

    older_than_ms: only those not updated for so long. At most limit go in one call: call again while `more`.
    """

    state: int
    older_than_ms: int = 0
    queue: str = ""
    task_type: str = ""
    limit: int = 1000


class PauseQueue(NamedTuple):
    """Hand out nothing from this queue until it is resumed. Running tasks go on. -> Done"""

    queue: str
    reason: str = ""


class ResumeQueue(NamedTuple):
    """Hand out from this queue again. -> Done"""

    queue: str


class GetStats(NamedTuple):
    """Counts and ages. -> Stats"""


class ListWorkers(NamedTuple):
    """The workers this broker knows. -> Workers"""


class GetCluster(NamedTuple):
    """The members. -> Cluster"""


class GetHealth(NamedTuple):
    """Is the broker well, in a word. -> Health"""


class Backup(NamedTuple):
    """Write a consistent copy into a new directory on the broker's own disk. -> BackedUp"""

    directory: str


# ---------------------------------------------------------------- requests of workers


class Register(NamedTuple):
    """A worker says who it is, what it serves and what it holds. -> Registered, then Deliver pushes.

    session_id: 16 bytes, new for each start of a worker process; the same after a reconnect.
    capacity: slots. The broker keeps at most so many tasks leased to this session.
    holds: (task_id, token) of what is running or waits to be settled. Leases of this session that are not
        listed are delivered again.
    heartbeat_ms: how often it will beat; after two missed beats its tasks go back.
    """

    session_id: bytes
    worker_id: str
    queues: tuple[str, ...]
    task_types: tuple[str, ...]
    capacity: int
    holds: tuple[tuple[bytes, int], ...] = ()
    heartbeat_ms: int = 15_000
    host: str = ""
    pid: int = 0
    version: str = ""


class Heartbeat(NamedTuple):
    """The worker lives. -> Done

    progress: (task_id, permille, text) of running tasks that told any since the last beat.
    """

    running: int = 0
    cpu_percent: int = 0
    memory_bytes: int = 0
    progress: tuple[tuple[bytes, int, str], ...] = ()


class SetCapacity(NamedTuple):
    """Change the slots; 0 = no new work (drain). -> Done"""

    capacity: int


class Claim(NamedTuple):
    """Ask for up to `limit` tasks beyond the capacity, waiting up to wait_ms (0-30,000) for the first. -> Claimed"""

    limit: int = 1
    wait_ms: int = 0


class SettleItem(NamedTuple):
    """The end of one attempt.

    cause: a `tq.task.Cause`. result: for DONE. error: text for people, traceback and all, for the others.
    delay_ms: for ERROR, RELEASED and SNOOZED: run again after so long; -1 = by the task's retry policy.
    """

    task_id: bytes
    token: int
    cause: int = 0
    result: bytes = b""
    error: str = ""
    delay_ms: int = -1


class Settle(NamedTuple):
    """End attempts, any number at once; each stands for itself. -> Settled"""

    items: tuple[SettleItem, ...]


class Extend(NamedTuple):
    """Move the deadline of held leases. -> Settled

    items: (task_id, token, ms): the new deadline is ms from now, at most TIMEOUT_MS_MAX.
    """

    items: tuple[tuple[bytes, int, int], ...]


class Deregister(NamedTuple):
    """The worker goes and hands back, uncharged, what it still holds. -> Done"""


class Ping(NamedTuple):
    """Are you there. -> Done"""


# ---------------------------------------------------------------- replies


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
    """One queue. unserved: task types with waiting tasks that no connected worker serves."""

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
    """role: leader, follower, candidate, observer or standalone. lag: entries behind the leader."""

    node_id: str
    address: str
    role: str
    term: int
    commit_index: int
    applied_index: int
    lag: int = 0
    is_self: bool = False


class Cluster(NamedTuple):
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


# ---------------------------------------------------------------- pushes and what they hold


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


class Deliver(NamedTuple):
    """Tasks for this worker, against its capacity."""

    tasks: tuple[Delivery, ...]


class Abort(NamedTuple):
    """Stop these attempts: (task_id, token, reason). Settle each with Cause.CANCELLED when its slot is free."""

    items: tuple[tuple[bytes, int, str], ...]


class TaskEnded(NamedTuple):
    """Watched tasks that ended, with results."""

    tasks: tuple[TaskView, ...]


class Draining(NamedTuple):
    """This broker is stopping: finish, and look for another node or try again after retry_after_ms."""

    retry_after_ms: int
    reason: str = ""


Request: TypeAlias = (
    Submit
    | GetTask
    | Watch
    | Cancel
    | Retry
    | ListTasks
    | Purge
    | PauseQueue
    | ResumeQueue
    | GetStats
    | ListWorkers
    | GetCluster
    | GetHealth
    | Backup
    | Register
    | Heartbeat
    | SetCapacity
    | Claim
    | Settle
    | Extend
    | Deregister
    | Ping
)
Reply: TypeAlias = (
    Done
    | Submitted
    | TaskRef
    | TaskView
    | Watching
    | TaskPage
    | Purged
    | Stats
    | Workers
    | Cluster
    | Health
    | BackedUp
    | Registered
    | Settled
    | Claimed
)
Push: TypeAlias = Deliver | Abort | TaskEnded | Draining

REPLY_OF: dict[type[Request], type[Reply]] = {
    Submit: Submitted,
    GetTask: TaskView,
    Watch: Watching,
    Cancel: TaskRef,
    Retry: TaskRef,
    ListTasks: TaskPage,
    Purge: Purged,
    PauseQueue: Done,
    ResumeQueue: Done,
    GetStats: Stats,
    ListWorkers: Workers,
    GetCluster: Cluster,
    GetHealth: Health,
    Backup: BackedUp,
    Register: Registered,
    Heartbeat: Done,
    SetCapacity: Done,
    Claim: Claimed,
    Settle: Settled,
    Extend: Settled,
    Deregister: Done,
    Ping: Done,
}
"""request class -> reply class; total over Request (a test checks it)."""
