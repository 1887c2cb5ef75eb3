"""What holds for everything that can be said: it comes back the same, and nothing that arrives raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.cases import CASES, Case
from tests.protocol.pairs import new_pair, open_pair
from tests.protocol.strategies import (
    blobs,
    likely_values,
    pushes,
    replies,
    requests,
    rows,
    tasks,
)
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Failed, PushReceived, ReplyReceived, RequestReceived
from tq.protocol.fields import Fault
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import frame
from tq.protocol.requests import TASK
from tq.protocol.validate import check_request
from tq.verbs import (
    REPLY_OF,
    GetTask,
)

thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Enough to meet each kind of request twice; `tests/fuzz` looks for longer."""

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
