"""The vocabulary: one small value class per request, reply and push.

Every door turns its input into one of these, the service answers with one of these, client and worker speak
these. A NamedTuple packs as an array in field order, so a class is also its own wire form. Fields are only ever
added at the end, with a default: an older peer leaves them out, a newer one's extra fields are ignored.

Requests come from clients (role `client`) and workers (role `worker`). Each is answered once, with the reply
class named beside it or with an error from `tq.errors`. Pushes come from the broker without being asked.
"""

from __future__ import annotations

from typing import TypeAlias

from tq.task import TaskView
from tq.verbs.pushes import (
    Abort,
    Deliver,
    Draining,
    TaskEnded,
)
from tq.verbs.replies import (
    SETTLED_LEASE_LOST,
    SETTLED_OK,
    BackedUp,
    Claimed,
    Cluster,
    Delivery,
    Done,
    Existing,
    Health,
    Member,
    Purged,
    QueueStats,
    Registered,
    Settled,
    Stats,
    Submitted,
    TaskPage,
    TaskRef,
    Watching,
    Workers,
    WorkerView,
)
from tq.verbs.requests import (
    Backup,
    Cancel,
    Claim,
    Deregister,
    Extend,
    GetCluster,
    GetHealth,
    GetStats,
    GetTask,
    Heartbeat,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Register,
    ResumeQueue,
    Retry,
    SetCapacity,
    Settle,
    SettleItem,
    Submit,
    Watch,
)

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

__all__ = [
    "Abort",
    "BackedUp",
    "Backup",
    "Cancel",
    "Claim",
    "Claimed",
    "Cluster",
    "Deliver",
    "Delivery",
    "Deregister",
    "Done",
    "Draining",
    "Existing",
    "Extend",
    "GetCluster",
    "GetHealth",
    "GetStats",
    "GetTask",
    "Health",
    "Heartbeat",
    "ListTasks",
    "ListWorkers",
    "Member",
    "PauseQueue",
    "Ping",
    "Purge",
    "Purged",
    "Push",
    "QueueStats",
    "REPLY_OF",
    "Register",
    "Registered",
    "Reply",
    "Request",
    "ResumeQueue",
    "Retry",
    "SETTLED_LEASE_LOST",
    "SETTLED_OK",
    "SetCapacity",
    "Settle",
    "SettleItem",
    "Settled",
    "Stats",
    "Submit",
    "Submitted",
    "TaskEnded",
    "TaskPage",
    "TaskRef",
    "Watch",
    "Watching",
    "WorkerView",
    "Workers",
]
