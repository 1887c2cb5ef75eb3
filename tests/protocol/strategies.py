"""What hypothesis sends over the wire: every request, reply and push, and values that are none."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tq.retry import DELAY_MS_MAX, RetryPolicy
from tq.task import Attempt, Counters, EndedTask, TaskSpec, TaskView
from tq.verbs import (
    Abort,
    AddNode,
    Backup,
    Cancel,
    CancelMany,
    Claim,
    DeadLetterGroup,
    Deliver,
    Delivery,
    Deregister,
    Drain,
    Draining,
    DrainWorker,
    Existing,
    Extend,
    Failure,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Heartbeat,
    Import,
    Latency,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    Member,
    PauseQueue,
    Ping,
    Purge,
    QueueStats,
    QueueView,
    Register,
    RemoveNode,
    Reply,
    ResumeQueue,
    Retry,
    RetryMany,
    SetCapacity,
    Settle,
    SettleItem,
    Submit,
    TaskEnded,
    TransferLeadership,
    TypeStats,
    Watch,
    WorkerView,
)

ids = st.binary(min_size=16, max_size=16)
numbers = st.integers(0, 2**63 - 1)
lines = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=9)
names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=9)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
blobs = st.binary(max_size=50)
flags = st.booleans()
delays = st.integers(0, DELAY_MS_MAX)
times = st.integers(0, 253_402_300_799_999)
maps = st.dictionaries(lines, texts, max_size=2)
tokens = numbers


def listed(values: st.SearchStrategy[Any], size: int = 3, *, distinct: Any = None) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=size, unique_by=distinct).map(tuple)


def batch_of(some: list[Any], size: int) -> tuple[Any, ...]:
    """size rows that differ in their ids, made of a few: drawing long batches field by field would take minutes."""
    return tuple(some[n % len(some)]._replace(task_id=n.to_bytes(16, "big")) for n in range(size))


def batches(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(batch_of, st.lists(rows, min_size=1, max_size=3), st.integers(0, 20))


policies = st.builds(
    RetryPolicy,
    st.integers(0, 2),
    delays,
    st.integers(1000, 1_000_000),
    delays,
    st.integers(0, 1000),
    listed(delays),
)
tasks = st.builds(
    TaskSpec,
    ids,
    names,
    blobs,
    queue=names,
    priority=st.integers(0, 255),
    schedule_at_ms=times,
    delay_ms=delays,
    timeout_ms=st.integers(1, 30 * 24 * 3600 * 1000),
    max_retries=st.integers(0, 1000),
    retry=st.none() | policies,
    dependencies=listed(ids, distinct=lambda value: value),
    expires_at_ms=times,
    unique_key=lines,
    unique_ttl_ms=delays,
    metadata=maps,
).map(lambda task: task if task.unique_key else task._replace(unique_ttl_ms=0))
plain_tasks = st.tuples(ids, names, blobs).map(lambda fields: TaskSpec(*fields))
ended_tasks = st.builds(
    EndedTask,
    *(ids, names, st.integers(6, 9), blobs, blobs, texts, names, st.integers(0, 255)),
    *(
        st.integers(1, 30 * 24 * 3600 * 1000),
        st.integers(0, 1000),
        st.none() | policies,
        st.integers(0, 1001),
        lines,
    ),
    *(times, times, times, maps),
)
attempts = st.builds(Attempt, numbers, lines, tokens, numbers, numbers, st.integers(0, 8), texts)
views = st.builds(
    TaskView,
    *(ids, lines, lines, numbers, texts),
    *[numbers] * 7,
    lines,
    result=st.none() | blobs,
    error=texts,
    attempts=listed(attempts, 3),
    counters=st.builds(Counters, *[numbers] * 6),
    payload=st.none() | blobs,
    payload_bytes=st.integers(-1, 2**63 - 1),
    started_ms=numbers,
    ended_ms=numbers,
    token=tokens,
    expires_at_ms=numbers,
    retry=policies,
    dependencies=listed(ids),
    unique_key=lines,
    metadata=maps,
    progress=st.none() | st.tuples(numbers, texts),
    result_bytes=st.integers(-1, 2**63 - 1),
)
deliveries = st.builds(
    Delivery, ids, tokens, lines, blobs, numbers, numbers, lines, numbers, numbers, numbers, maps
)
pushes = st.one_of(
    st.builds(Deliver, batches(deliveries)),
    st.builds(Abort, listed(st.tuples(ids, tokens, texts))),
    st.builds(TaskEnded, batches(views)),
    st.builds(Draining, numbers, texts),
    st.builds(Drain, texts),
)

queue_stats = st.builds(
    QueueStats, lines, *[numbers] * 7, flags, texts, listed(lines), *[st.integers(-1, 2**63 - 1)] * 2
)
latencies = st.builds(Latency, numbers, *[st.integers(-1, 2**63 - 1)] * 4)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "bool": flags,
    "Latency": latencies,
    "tuple[int, ...]": listed(st.integers(-1, 2**63 - 1)),
    "tuple[QueueView, ...]": listed(
        st.builds(QueueView, queue_stats, listed(st.builds(TypeStats, lines, numbers, numbers)))
    ),
    "tuple[Failure, ...]": listed(
        st.builds(
            Failure, numbers, ids, lines, lines, numbers, numbers, lines, st.integers(-1, 8), texts
        )
    ),
    "tuple[DeadLetterGroup, ...]": listed(
        st.builds(DeadLetterGroup, lines, lines, lines, texts, numbers, numbers, numbers, ids)
    ),
    "bytes": blobs,
    "int": numbers,
    "str": lines,
    "tuple[TaskView, ...]": batches(views),
    "tuple[Delivery, ...]": batches(deliveries),
    "tuple[Existing, ...]": listed(st.builds(Existing, numbers, ids, numbers)),
    "tuple[QueueStats, ...]": listed(queue_stats),
    "tuple[WorkerView, ...]": listed(
        st.builds(
            WorkerView, lines, ids, lines, numbers, lines, lines, numbers, listed(lines), listed(lines), listed(ids),
            *[numbers] * 4,
        )
    ),
    "tuple[Member, ...]": listed(
        st.builds(
            Member,
            *(lines, lines, lines),
            *[numbers] * 4,
            *(flags, flags, lines, numbers, numbers, st.integers(-1, 2**63 - 1), lines),
        )
    ),
    "tuple[bytes, ...]": listed(ids),
    "tuple[str, ...]": listed(texts),
    "tuple[tuple[bytes, int], ...]": listed(st.tuples(ids, tokens)),
}  # fmt: skip
"""annotation in `tq.verbs` -> what to put there, for replies"""


def replies(kind: type[Reply]) -> st.SearchStrategy[Any]:
    if kind is TaskView:
        return views
    fields = {name: FIELDS[str(kind.__annotations__[name].__forward_arg__)] for name in kind._fields}
    if "task_id" in fields:
        fields["task_id"] = ids
    return st.builds(kind, **fields)


any_value = st.recursive(
    st.none() | flags | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | blobs | ids,
    lambda inside: st.lists(inside, max_size=8) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=8,
)
likely_values = st.one_of(
    any_value, ids, names, st.integers(-2, 300), listed(ids), listed(st.tuples(ids, names))
)


rows = st.lists(likely_values, min_size=1, max_size=8).map(tuple)


settled = st.builds(SettleItem, ids, tokens, st.integers(0, 8), blobs, texts, st.integers(-1, DELAY_MS_MAX))
different_ids = st.lists(ids, max_size=4, unique=True).map(tuple)
held = listed(st.tuples(ids, tokens), distinct=lambda pair: pair[0])
many = (different_ids, st.integers(0, 9), lines, lines, st.integers(1, 1000), numbers)
requests = st.one_of(
    st.builds(Submit, batches(tasks | plain_tasks)),
    st.builds(GetTask, ids, st.integers(0, 300_000), flags, st.integers(0, 2), flags),
    st.builds(Watch, different_ids),
    st.builds(Cancel, ids, flags),
    st.builds(Retry, ids, st.integers(-1, 1000)),
    st.builds(
        ListTasks,
        *(st.integers(0, 9), lines, lines, st.integers(1, 1000), st.integers(0, 100_000), numbers),
        *(st.integers(0, 2), lines, st.text("0123456789abcdef", max_size=64), flags, flags),
    ),
    st.builds(DrainWorker, names),
    st.builds(ListFailures, st.integers(1, 100)),
    st.builds(GroupDeadLetters, lines, lines),
    st.builds(CancelMany, *many, flags),
    st.builds(RetryMany, *many, st.text("0123456789abcdef", max_size=64), st.integers(-1, 1000)),
    st.builds(ForgetMany, *many, st.text("0123456789abcdef", max_size=64)),
    st.builds(Import, listed(ended_tasks, distinct=lambda task: task[0])),
    st.builds(GetStats, st.integers(0, 2)),
    st.builds(GetCluster, flags),
    st.builds(AddNode, names, names, flags),
    st.builds(RemoveNode, names),
    st.builds(TransferLeadership, lines),
    st.builds(Purge, st.integers(1, 9), numbers, lines, lines, st.integers(1, 10_000)),
    st.builds(PauseQueue, names, lines),
    st.builds(ResumeQueue, names),
    st.sampled_from([ListWorkers(), GetHealth(), GetSeries(), ListQueues(), Deregister(), Ping()]),
    st.builds(Backup, names),
    st.builds(
        Register,
        *(ids, names),
        *[st.lists(names, min_size=1, max_size=9).map(tuple)] * 2,
        st.integers(0, 10_000),
        held,
        st.integers(100, 3_600_000),
        *(lines, numbers, lines),
    ),
    st.builds(
        Heartbeat,
        st.integers(0, 10_000),
        numbers,
        numbers,
        listed(st.tuples(ids, st.integers(0, 1000), texts)),
    ),
    st.builds(SetCapacity, st.integers(0, 10_000)),
    st.builds(Claim, st.integers(1, 1000), st.integers(0, 30_000)),
    st.builds(Settle, batches(settled)),
    st.builds(Extend, listed(st.tuples(ids, tokens, st.integers(1, 30 * 24 * 3600 * 1000)))),
)
