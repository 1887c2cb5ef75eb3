"""One harmless request of each verb, for doors to send."""

from __future__ import annotations

from tq.ids import new_id
from tq.task import TaskSpec
from tq.verbs import (
    AddNode,
    Backup,
    Cancel,
    CancelMany,
    Claim,
    Deregister,
    DrainWorker,
    Extend,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Heartbeat,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Register,
    RemoveNode,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    SetCapacity,
    Settle,
    SettleItem,
    Submit,
    TransferLeadership,
    Watch,
)

TASK_ID = new_id()

SAMPLES: dict[type[Request], Request] = {
    type(request): request
    for request in (
        Submit((TaskSpec(TASK_ID, "t"),)),
        GetTask(TASK_ID),
        Watch((TASK_ID,)),
        Cancel(TASK_ID),
        Retry(TASK_ID),
        ListTasks(),
        Purge(state=6),
        PauseQueue("mail"),
        ResumeQueue("mail"),
        GetStats(),
        ListWorkers(),
        GetCluster(),
        GetHealth(),
        Backup("copy"),
        AddNode("n2", "h:7379"),
        RemoveNode("n2"),
        TransferLeadership(),
        Register(new_id(), "w", ("default",), ("t",), 1),
        Heartbeat(),
        SetCapacity(1),
        Claim(),
        Settle((SettleItem(TASK_ID, 1),)),
        Extend(((TASK_ID, 1, 1_000),)),
        Deregister(),
        Ping(),
        DrainWorker("w"),
        GetSeries(),
        ListQueues(),
        ListFailures(),
        GroupDeadLetters(),
        CancelMany((TASK_ID,)),
        RetryMany((TASK_ID,)),
        ForgetMany((TASK_ID,)),
    )
}
