"""Every case both ways: the bytes give the value, the value gives the bytes, however the bytes are cut."""

from __future__ import annotations

from typing import cast

import pytest

from tests.protocol.cases import CASES, Case
from tests.protocol.pairs import Pair, new_pair, open_pair
from tq.errors import TqError
from tq.protocol.connection import Connection
from tq.protocol.events import (
    CloseReceived,
    Event,
    HelloReceived,
    PushReceived,
    ReplyReceived,
    RequestReceived,
    Welcomed,
)
from tq.protocol.frame_types import FrameType
from tq.verbs import Push, Reply, Request

SHORTENED = ("NoneType", "TaskView-to-GetTask")
"""Cases whose body leaves fields out at the end, so that one more there would be one of those."""
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def ready_for(case: Case) -> Pair:
    """Two ends of which one is about to say the case, and the other to hear it."""
    if isinstance(case.value, HelloReceived):
        return new_pair()
    if isinstance(case.value, Welcomed):
        pair = new_pair()
        pair.peer.start_hello("client")
        pair.to_broker()
        return pair
    pair = open_pair()
    if case.asked is not None:
        pair.peer.send_request(case.asked)
        pair.to_broker()
    return pair


def hearer_of(case: Case) -> Connection:
    pair = ready_for(case)
    return pair.broker if case.is_request or isinstance(case.value, HelloReceived) else pair.peer


def expected_event(case: Case) -> Event:
    value = case.value
    if case.asked is not None:
        return ReplyReceived(1, cast("Reply | TqError", value))
    if isinstance(value, HelloReceived | Welcomed):
        return value
    if value is None or isinstance(value, TqError):
        return CloseReceived(value)
    if case.is_request:
        return RequestReceived(1, cast(Request, value))
    return PushReceived(cast(Push, value))


def say(case: Case) -> bytes:
    pair, value = ready_for(case), case.value
    if isinstance(value, HelloReceived):
        pair.peer.start_hello(value.role, value.token, value.name, value.software)
        return pair.peer.data_to_send()
    if isinstance(value, Welcomed):
        pair.broker.accept_hello(value.node_id, value.cluster_id, heartbeat_ms=value.heartbeat_ms)
    elif case.asked is not None:
        pair.broker.send_reply(1, cast("Reply | TqError", value))
    elif value is None or isinstance(value, TqError):
        pair.broker.send_close(value)
    elif case.is_request:
        pair.peer.send_request(cast(Request, value))
        return pair.peer.data_to_send()
    else:
        pair.broker.send_push(cast(Push, value))
    return pair.broker.data_to_send()


def form(value: object) -> object:
    """A value with the classes of everything inside it; errors by what they say."""
    if isinstance(value, tuple):
        return (type(value), *map(form, value))
    if isinstance(value, TqError):
        return (type(value), value.text, value.retry_after_ms, value.leader)
    return value


def same(event: Event, expected: Event) -> bool:
    return form(event) == form(expected)


@EACH_CASE
def test_bytes_give_the_value(case: Case) -> None:
    (event,) = hearer_of(case).receive(case.data)

    assert same(event, expected_event(case))


@EACH_CASE
def test_value_gives_the_bytes(case: Case) -> None:
    assert say(case).hex() == case.data.hex()


@EACH_CASE
def test_every_split_in_two_gives_the_value(case: Case) -> None:
    expected = expected_event(case)
    for at in range(1, len(case.data)):
        hearer = hearer_of(case)

        events = hearer.receive(case.data[:at]) + hearer.receive(case.data[at:])

        assert len(events) == 1 and same(events[0], expected), at


@EACH_CASE
def test_bytes_one_by_one_give_the_value(case: Case) -> None:
    hearer = hearer_of(case)

    events = [event for byte in case.data for event in hearer.receive(bytes([byte]))]

    assert len(events) == 1 and same(events[0], expected_event(case))


WHOLE_CASES = [case for case in CASES if case.name not in SHORTENED and 0x90 <= case.data[5] < 0x9F]


@pytest.mark.parametrize("case", WHOLE_CASES, ids=lambda case: case.name)
def test_fields_from_the_future_are_ignored(case: Case) -> None:
    """One more field at the end of the body, from a newer peer."""
    data = case.data
    longer = (len(data) - 3).to_bytes(4, "big") + data[4:5] + bytes([data[5] + 1]) + data[6:] + b"\x01"

    (event,) = hearer_of(case).receive(longer)

    assert same(event, expected_event(case))


def test_cases_cover_every_frame_type() -> None:
    assert {case.data[4] for case in CASES} == set(FrameType)
