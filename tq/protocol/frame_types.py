"""Which number stands for which value class. A number is never reused; the first ten are fixed, ours start at 16."""

from __future__ import annotations

from enum import IntEnum

from tq import verbs
from tq.protocol.answers import PUSHES
from tq.protocol.records import Record
from tq.protocol.requests import REQUESTS
from tq.verbs import Push, Request


class FrameType(IntEnum):
    """The number after the length."""

    SUBMIT_TASK = 1
    CLAIM_TASK = 2
    TASK_RESULT = 3
    HEARTBEAT = 4
    ACK = 5
    NACK = 6
    QUERY_STATUS = 7
    CANCEL_TASK = 8
    LIST_TASKS = 9
    STATS = 10
    HELLO = 16
    WELCOME = 17
    CLOSE = 18
    REGISTER = 19
    SET_CAPACITY = 20
    EXTEND = 21
    DEREGISTER = 22
    DELIVER = 23
    ABORT = 24
    WATCH = 25
    TASK_ENDED = 26
    DRAINING = 27
    PING = 28
    RETRY_TASK = 29
    PURGE = 30
    PAUSE_QUEUE = 31
    RESUME_QUEUE = 32
    LIST_WORKERS = 33
    GET_CLUSTER = 34
    GET_HEALTH = 35
    BACKUP = 36
    ADD_NODE = 37
    REMOVE_NODE = 38
    TRANSFER_LEADERSHIP = 39
    DRAIN_WORKER = 40
    GET_SERIES = 41
    LIST_QUEUES = 42
    LIST_FAILURES = 43
    GROUP_DEAD_LETTERS = 44
    CANCEL_MANY = 45
    RETRY_MANY = 46
    FORGET_MANY = 47
    DRAIN = 48
    IMPORT_TASKS = 49


TYPE_OF: dict[type[Request] | type[Push], FrameType] = {
    verbs.Submit: FrameType.SUBMIT_TASK,
    verbs.Claim: FrameType.CLAIM_TASK,
    verbs.Settle: FrameType.TASK_RESULT,
    verbs.Heartbeat: FrameType.HEARTBEAT,
    verbs.GetTask: FrameType.QUERY_STATUS,
    verbs.Cancel: FrameType.CANCEL_TASK,
    verbs.ListTasks: FrameType.LIST_TASKS,
    verbs.GetStats: FrameType.STATS,
    verbs.Register: FrameType.REGISTER,
    verbs.SetCapacity: FrameType.SET_CAPACITY,
    verbs.Extend: FrameType.EXTEND,
    verbs.Deregister: FrameType.DEREGISTER,
    verbs.Deliver: FrameType.DELIVER,
    verbs.Abort: FrameType.ABORT,
    verbs.Watch: FrameType.WATCH,
    verbs.TaskEnded: FrameType.TASK_ENDED,
    verbs.Draining: FrameType.DRAINING,
    verbs.Ping: FrameType.PING,
    verbs.Retry: FrameType.RETRY_TASK,
    verbs.Purge: FrameType.PURGE,
    verbs.PauseQueue: FrameType.PAUSE_QUEUE,
    verbs.ResumeQueue: FrameType.RESUME_QUEUE,
    verbs.ListWorkers: FrameType.LIST_WORKERS,
    verbs.GetCluster: FrameType.GET_CLUSTER,
    verbs.GetHealth: FrameType.GET_HEALTH,
    verbs.Backup: FrameType.BACKUP,
    verbs.AddNode: FrameType.ADD_NODE,
    verbs.RemoveNode: FrameType.REMOVE_NODE,
    verbs.TransferLeadership: FrameType.TRANSFER_LEADERSHIP,
    verbs.DrainWorker: FrameType.DRAIN_WORKER,
    verbs.GetSeries: FrameType.GET_SERIES,
    verbs.ListQueues: FrameType.LIST_QUEUES,
    verbs.ListFailures: FrameType.LIST_FAILURES,
    verbs.GroupDeadLetters: FrameType.GROUP_DEAD_LETTERS,
    verbs.CancelMany: FrameType.CANCEL_MANY,
    verbs.RetryMany: FrameType.RETRY_MANY,
    verbs.ForgetMany: FrameType.FORGET_MANY,
    verbs.Import: FrameType.IMPORT_TASKS,
    verbs.Drain: FrameType.DRAIN,
}
"""Request or push class -> its frame type. Replies travel as ACK, errors as NACK."""

REQUEST_OF_TYPE: dict[int, Record] = {TYPE_OF[kind]: record for kind, record in REQUESTS.items()}  # type: ignore[index]
PUSH_OF_TYPE: dict[int, Record] = {TYPE_OF[kind]: record for kind, record in PUSHES.items()}  # type: ignore[index]
KNOWN_TYPES = frozenset(map(int, FrameType))
