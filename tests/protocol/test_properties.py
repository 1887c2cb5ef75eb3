"""What holds for everything that can be said: it comes back the same, and nothing that arrives raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.cases import CASES, Case
from tests.protocol.pairs import new_pair, open_pair
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Failed, PushReceived, ReplyReceived, RequestReceived
from tq.protocol.fields import Fault
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import frame
from tq.protocol.requests import TASK
from tq.protocol.validate import check_request
from tq.retry import DELAY_MS_MAX, RetryPolicy
from tq.task import Attempt, Counters, TaskSpec, TaskView
from tq.verbs import (
    REPLY_OF,
    Abort,
    Backup,
    Cancel,
    Claim,
    Deliver,
    Delivery,
    Deregister,
    Draining,
    Existing,
    Extend,
    GetCluster,
    GetHealth,
    GetStats,
    GetTask,
    Heartbeat,
    ListTasks,
    ListWorkers,
    Member,
    PauseQueue,
    Ping,
    Purge,
    QueueStats,
    Register,
    Reply,
    ResumeQueue,
    Retry,
    SetCapacity,
    Settle,
    SettleItem,
    Submit,
    TaskEnded,
    Watch,
    WorkerView,
)

thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Enough to meet each kind of request twice; `tests/fuzz` looks for longer."""

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
)
plain_tasks = st.tuples(ids, names, blobs).map(lambda fields: TaskSpec(*fields))
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
    payload_bytes=numbers,
    started_ms=numbers,
    ended_ms=numbers,
    token=tokens,
    expires_at_ms=numbers,
    retry=policies,
    dependencies=listed(ids),
    unique_key=lines,
    metadata=maps,
    progress=st.none() | st.tuples(numbers, texts),
)
deliveries = st.builds(
    Delivery, ids, tokens, lines, blobs, numbers, numbers, lines, numbers, numbers, numbers, maps
)
pushes = st.one_of(
    st.builds(Deliver, batches(deliveries)),
    st.builds(Abort, listed(st.tuples(ids, tokens, texts))),
    st.builds(TaskEnded, batches(views)),
    st.builds(Draining, numbers, texts),
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "bool": flags,
    "bytes": blobs,
    "int": numbers,
    "str": lines,
    "tuple[TaskView, ...]": batches(views),
    "tuple[Delivery, ...]": batches(deliveries),
    "tuple[Existing, ...]": listed(st.builds(Existing, numbers, ids, numbers)),
    "tuple[QueueStats, ...]": listed(st.builds(QueueStats, lines, *[numbers] * 7, flags, texts, listed(lines))),
    "tuple[WorkerView, ...]": listed(
        st.builds(
            WorkerView, lines, ids, lines, numbers, lines, lines, numbers, listed(lines), listed(lines), listed(ids),
            *[numbers] * 4,
        )
    ),
    "tuple[Member, ...]": listed(st.builds(Member, lines, lines, lines, *[numbers] * 4, flags)),
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
requests = st.one_of(
    st.builds(Submit, batches(tasks | plain_tasks)),
    st.builds(GetTask, ids, st.integers(0, 300_000), flags, st.integers(0, 2)),
    st.builds(Watch, different_ids),
    st.builds(Cancel, ids, flags),
    st.builds(Retry, ids, st.integers(-1, 1000)),
    st.builds(
        ListTasks, st.integers(0, 9), lines, lines, st.integers(1, 1000), st.integers(0, 100_000), numbers
    ),
    st.builds(Purge, st.integers(1, 9), numbers, lines, lines, st.integers(1, 10_000)),
    st.builds(PauseQueue, names, lines),
    st.builds(ResumeQueue, names),
    st.sampled_from([GetStats(), ListWorkers(), GetCluster(), GetHealth(), Deregister(), Ping()]),
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
asks = {type(case.value): case.value for case in CASES if case.is_request}

# ---------------------------------------------------------------- what is said comes back


@thorough
@given(requests)
def test_every_request_comes_back_the_same(request: Any) -> None:
    pair = open_pair()
    pair.peer.send_request(request)

    (event,) = pair.to_broker()

    assert event == RequestReceived(1, request)
    assert type(event.request) is type(request)


@thorough
@given(requests)
def test_every_request_of_another_door_passes_the_same_checks(request: Any) -> None:
    assert check_request(request) == request


@thorough
@given(st.data())
def test_every_reply_comes_back_the_same(data: st.DataObject) -> None:
    ask: Any = data.draw(st.sampled_from(list(asks.values())))
    reply = data.draw(replies(REPLY_OF[type(ask)]))
    pair = open_pair()
    pair.peer.send_request(ask)
    pair.to_broker()

    pair.broker.send_reply(1, reply)

    assert pair.to_peer() == [ReplyReceived(1, reply)]


@thorough
@given(pushes)
def test_every_push_comes_back_the_same(push: Any) -> None:
    pair = open_pair()
    pair.broker.send_push(push)

    assert pair.to_peer() == [PushReceived(push)]


@thorough
@given(st.lists(requests, max_size=6), st.data())
def test_requests_come_out_in_order_however_the_bytes_are_cut(
    several: list[Any], data: st.DataObject
) -> None:
    pair = open_pair()
    for request in several:
        pair.peer.send_request(request)
    sent, events = pair.peer.data_to_send(), []

    while sent:
        size = data.draw(st.integers(1, len(sent)))
        events += pair.broker.receive(sent[:size])
        sent = sent[size:]

    assert events == [RequestReceived(n, request) for n, request in enumerate(several, 1)]


# ---------------------------------------------------------------- what arrives never raises


def connections() -> list[Connection]:
    """Either end at every stage it can hear something in."""
    greeted = new_pair()
    greeted.peer.start_hello("client")
    greeted.to_broker()
    opened = open_pair()
    opened.peer.send_request(asks[GetTask])  # type: ignore[arg-type]
    return [Connection(Role.BROKER), Connection(Role.PEER), *greeted, *opened]


def check_total(data: bytes) -> None:
    for connection in connections():
        events = connection.receive(data)

        ended = [event for event in events if isinstance(event, Failed | CloseReceived)]
        assert connection.is_closed == bool(ended)
        assert ended == events[len(events) - len(ended) :] and len(ended) <= 1
        connection.receive_eof()
        connection.data_to_send()
        assert connection.is_closed


@thorough
@given(blobs)
def test_no_bytes_raise(data: bytes) -> None:
    check_total(data)


@thorough
@given(st.integers(0, 255), blobs)
def test_no_body_raises(kind: int, body: bytes) -> None:
    check_total(frame(kind, body))


@thorough
@given(st.sampled_from(sorted(FrameType)) | st.integers(0, 255), st.lists(likely_values, max_size=6))
def test_no_value_raises(kind: int, values: list[Any]) -> None:
    check_total(frame(kind, msgpack.packb([1, *values])) + frame(kind, msgpack.packb(values)))


@thorough
@given(st.sampled_from(CASES), st.integers(0, 400), blobs)
def test_no_damage_to_what_is_right_raises(case: Case, at: int, noise: bytes) -> None:
    body = case.data[5:]
    at %= len(body)
    check_total(frame(case.data[4], body[:at] + noise + body[at + len(noise) :]))


@thorough
@given(st.lists(rows | tasks, min_size=1, max_size=4), st.integers(8, 20))
def test_long_batch_is_judged_as_its_rows_are(some: list[Any], size: int) -> None:
    """Long batches are read by columns, short ones by rows: both must say the same."""
    batch = tuple(tuple(some[n % len(some)]) for n in range(size))
    singly = [task_or_fault([row]) for row in batch]

    together = task_or_fault(batch)

    if None in singly:
        assert together is None
    else:
        assert together == [task for tasks in singly for task in tasks or ()]


def task_or_fault(batch: Sequence[Any]) -> list[Any] | None:
    try:
        return list(TASK.read_column(batch))
    except Fault:
        return None
