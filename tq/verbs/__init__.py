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
from tq.verbs.operating import (
    CancelMany,
    Changed,
    DeadLetterGroup,
    DeadLetters,
    Drained,
    DrainWorker,
    Failure,
    Failures,
    ForgetMany,
    GetSeries,
    GroupDeadLetters,
    Import,
    Latency,
    ListFailures,
    ListQueues,
    Queues,
    QueueView,
    RetryMany,
    Series,
    TypeStats,
)
from tq.verbs.pushes import (
    Abort,
    Deliver,
    Drain,
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
    LEADER,
    LINEARIZABLE,
    LOCAL,
    AddNode,
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
    RemoveNode,
    ResumeQueue,
    Retry,
    SetCapacity,
    Settle,
    SettleItem,
    Submit,
    TransferLeadership,
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
    | AddNode
    | RemoveNode
    | TransferLeadership
    | Backup
    | DrainWorker
    | GetSeries
    | ListQueues
    | ListFailures
    | GroupDeadLetters
    | CancelMany
    | RetryMany
    | ForgetMany
    | Import
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
    | Drained
    | Series
    | Queues
    | Failures
    | DeadLetters
    | Changed
)
Push: TypeAlias = Deliver | Abort | TaskEnded | Draining | Drain

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
    AddNode: Cluster,
    RemoveNode: Cluster,
    TransferLeadership: Cluster,
    Backup: BackedUp,
    DrainWorker: Drained,
    GetSeries: Series,
    ListQueues: Queues,
    ListFailures: Failures,
    GroupDeadLetters: DeadLetters,
    CancelMany: Changed,
    RetryMany: Changed,
    ForgetMany: Changed,
    Import: Changed,
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
    "AddNode",
    "BackedUp",
    "Backup",
    "Cancel",
    "CancelMany",
    "Changed",
    "Claim",
    "Claimed",
    "Cluster",
    "DeadLetterGroup",
    "DeadLetters",
    "Deliver",
    "Delivery",
    "Deregister",
    "Done",
    "Drain",
    "Drained",
    "Draining",
    "DrainWorker",
    "Existing",
    "Extend",
    "Failure",
    "Failures",
    "ForgetMany",
    "GetCluster",
    "GetHealth",
    "GetSeries",
    "GetStats",
    "GetTask",
    "GroupDeadLetters",
    "Health",
    "Heartbeat",
    "Import",
    "Latency",
    "LEADER",
    "LINEARIZABLE",
    "ListFailures",
    "ListQueues",
    "ListTasks",
    "ListWorkers",
    "LOCAL",
    "Member",
    "PauseQueue",
    "Ping",
    "Purge",
    "Purged",
    "Push",
    "Queues",
    "QueueStats",
    "QueueView",
    "Register",
    "Registered",
    "RemoveNode",
    "Reply",
    "REPLY_OF",
    "Request",
    "ResumeQueue",
    "Retry",
    "RetryMany",
    "Series",
    "SetCapacity",
    "Settle",
    "Settled",
    "SETTLED_LEASE_LOST",
    "SETTLED_OK",
    "SettleItem",
    "Stats",
    "Submit",
    "Submitted",
    "TaskEnded",
    "TaskPage",
    "TaskRef",
    "TransferLeadership",
    "TypeStats",
    "Watch",
    "Watching",
    "Workers",
    "WorkerView",
]
