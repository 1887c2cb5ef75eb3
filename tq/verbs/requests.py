"""What clients and workers ask for. The reply class stands at the end of each description."""

from __future__ import annotations

from typing import NamedTuple

from tq.task import TaskSpec

LOCAL, LEADER, LINEARIZABLE = 0, 1, 2
"""Whose word a read takes: this node's, which may be late; that of the node that leads, as it believes; that of the
leader once a majority has confirmed that it still leads."""


class Submit(NamedTuple):
    """Put tasks on their queues, all or none. -> Submitted"""

    tasks: tuple[TaskSpec, ...]


class GetTask(NamedTuple):
    """One task, as it is or, with wait_ms, as soon as it has ended or wait_ms have passed. -> TaskView

    consistency: LOCAL, LEADER or LINEARIZABLE; a broker by itself answers all alike.
    """

    task_id: bytes
    wait_ms: int = 0
    with_payload: bool = False
    consistency: int = 1
    with_result: bool = True


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
    consistency: as for GetTask. worker_id: only what this worker runs. fingerprint: only dead letters of this group; such a
    page may be short though there are more. oldest_first: the other way round, with cursors of its own.
    """

    state: int = 0
    task_type: str = ""
    queue: str = ""
    limit: int = 100
    offset: int = 0
    cursor: int = 0
    consistency: int = 1
    worker_id: str = ""
    fingerprint: str = ""
    oldest_first: bool = False
    with_result: bool = True


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
    """Counts and ages. -> Stats

    consistency: as for GetTask; on a follower LOCAL knows no connected workers.
    """

    consistency: int = 1


class ListWorkers(NamedTuple):
    """The workers this broker knows. -> Workers"""


class GetCluster(NamedTuple):
    """The members. -> Cluster

    own: what the asked node knows by itself. Otherwise it asks the others too, and shows for each what it says of
    itself; those that do not answer within a moment are shown as it knows them.
    """

    own: bool = False


class AddNode(NamedTuple):
    """Take a node into the cluster as an observer; it votes as soon as it has caught up. -> Cluster

    address: where its peers reach it, host:port. votes: False keeps it an observer. A member's address, or whether it
    is to vote, is changed by adding it again.
    """

    node_id: str
    address: str
    votes: bool = True


class RemoveNode(NamedTuple):
    """Take a node out of the cluster; a leader hands over first. -> Cluster"""

    node_id: str


class TransferLeadership(NamedTuple):
    """Let another voting node lead; empty: the one that is furthest on. -> Cluster

    New entries wait meanwhile, for a moment.
    """

    node_id: str = ""


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
    """Ask for up to `limit` tasks beyond the capacity, waiting up to wait_ms (0-30,000) for the first. -> Claimed

    A claim ends the one before it. limit 0, which doors may say and the wire does not carry, does only that.
    """

    limit: int = 1
    wait_ms: int = 0


class SettleItem(NamedTuple):
    """The end of one attempt.

    cause: a `tq.task.Cause`. result: for DONE. error: text for people, traceback and all, for the others.
    delay_ms: for ERROR, RELEASED and SNOOZED: run again after so long; -1 = by the task's retry policy, and for
        RELEASED at once.
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
