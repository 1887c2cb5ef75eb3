"""How a connection ends, and that nothing comes after."""

from __future__ import annotations

import pytest

from tests.protocol.pairs import Pair, new_pair, open_pair
from tq.errors import (
    BadRequest,
    BrokerUnavailable,
    ProtocolError,
    TqError,
)
from tq.protocol.connection import Connection, Role
from tq.protocol.encoder import Encoder
from tq.protocol.events import (
    CloseReceived,
    Event,
    Failed,
    PushReceived,
)
from tq.task import PAYLOAD_BYTES_MAX
from tq.verbs import (
    Done,
    Draining,
    GetStats,
    Ping,
)

PAYLOAD = bytes(PAYLOAD_BYTES_MAX)


def error_of(event: Event) -> TqError:
    assert isinstance(event, Failed | CloseReceived) and event.error is not None
    return event.error


def test_close_in_order_is_heard_without_an_error() -> None:
    pair = open_pair()

    pair.peer.send_close()

    assert pair.to_broker() == [CloseReceived(None)]
    assert pair.peer.is_closed and pair.broker.is_closed
    assert pair.broker.receive_eof() == [] and pair.peer.receive_eof() == []


def test_what_was_said_before_the_close_still_goes_out() -> None:
    pair = open_pair()
    pair.broker.send_push(Draining(1_000))
    pair.broker.send_close(BrokerUnavailable("stopping"))

    push, close = pair.to_peer()

    assert push == PushReceived(Draining(1_000))
    assert error_of(close).text == "stopping"


def test_nothing_is_sent_or_heard_after_the_close() -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())
    pair.to_broker()
    pair.broker.send_close()
    sent = pair.broker.pending_out_bytes

    pair.broker.send_push(Draining(1))
    pair.broker.send_reply(1, Done())
    pair.broker.send_close(BadRequest())

    assert pair.broker.pending_out_bytes == sent
    assert pair.broker.receive(Encoder().request(2, GetStats())) == []
    with pytest.raises(BrokerUnavailable):
        pair.broker.send_request(Ping())


def test_frames_behind_a_close_are_not_read() -> None:
    pair = open_pair()

    events = pair.broker.receive(Encoder().close(None) + Encoder().request(1, GetStats()))

    assert events == [CloseReceived(None)]


def test_broker_may_close_before_it_hears_a_hello() -> None:
    pair = new_pair()
    pair.peer.start_hello("client")

    pair.broker.send_close(BrokerUnavailable("too many"))

    assert error_of(pair.to_peer()[0]).text == "too many"


def test_hanging_up_without_a_close_is_a_failure() -> None:
    (event,) = open_pair().peer.receive_eof()

    assert isinstance(event, Failed) and isinstance(event.error, BrokerUnavailable)


def test_hanging_up_in_the_middle_of_a_frame_is_a_failure_that_says_so() -> None:
    broker = open_pair().broker
    broker.receive(bytes(3))

    (event,) = broker.receive_eof()

    assert isinstance(event, Failed) and isinstance(event.error, ProtocolError)
    assert "middle of a frame" in event.error.text


def test_request_before_the_welcome_is_refused() -> None:
    pair = Pair(Connection(Role.BROKER), Connection(Role.PEER))
    pair.peer.start_hello("client")

    with pytest.raises(BrokerUnavailable):
        pair.peer.send_request(GetStats())
