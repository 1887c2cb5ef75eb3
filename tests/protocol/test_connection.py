"""One connection from the hello to its end."""

from __future__ import annotations

import msgpack
import pytest

from tests.protocol.cases import FULL_TASK, SHORT_VIEW
from tests.protocol.pairs import body, new_pair, open_pair
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokerUnavailable,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    TqError,
)
from tq.protocol import limits
from tq.protocol.connection import Connection, Role
from tq.protocol.encoder import Encoder
from tq.protocol.events import (
    CloseReceived,
    Event,
    Failed,
    HelloReceived,
    ReplyReceived,
    RequestReceived,
    RequestRefused,
    Welcomed,
)
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import frame
from tq.task import PAYLOAD_BYTES_MAX, TaskSpec
from tq.verbs import (
    Claimed,
    Done,
    GetStats,
    GetTask,
    Ping,
    Settle,
    SettleItem,
    Submit,
)

PAYLOAD = bytes(PAYLOAD_BYTES_MAX)


def hello(version: int = 1, role: str = "client") -> bytes:
    return Encoder().hello(HelloReceived(version, role, "", ""))


def error_of(event: Event) -> TqError:
    assert isinstance(event, Failed | CloseReceived) and event.error is not None
    return event.error


# ---------------------------------------------------------------- hello


def test_hello_and_welcome_open_both_ends() -> None:
    pair = new_pair()
    pair.peer.start_hello("worker", "key", "w1", "tq 1")

    assert pair.to_broker() == [HelloReceived(1, "worker", "key", "w1", "tq 1")]
    assert not pair.broker.is_open and not pair.peer.is_open

    pair.broker.accept_hello("node1", "cluster1", heartbeat_ms=5_000)

    (welcome,) = pair.to_peer()
    assert welcome == Welcomed(
        1,
        "node1",
        "cluster1",
        limits.FRAME_BYTES_MAX,
        PAYLOAD_BYTES_MAX,
        limits.BATCH_ITEMS_MAX,
        limits.REQUESTS_MAX,
        5_000,
    )
    assert pair.broker.is_open and pair.peer.is_open


def test_refused_hello_says_why_and_ends_both() -> None:
    pair = new_pair()
    pair.peer.start_hello("client", "wrong")
    pair.to_broker()

    pair.broker.refuse_hello(AuthenticationFailed("this key is not known"))

    (event,) = pair.to_peer()
    assert isinstance(error_of(event), AuthenticationFailed)
    assert error_of(event).text == "this key is not known"
    assert pair.broker.is_closed and pair.peer.is_closed


def test_token_is_not_in_the_text_of_the_event() -> None:
    assert "secret" not in repr(HelloReceived(1, "client", "secret", "me"))


def test_first_frame_must_be_a_hello() -> None:
    broker = Connection(Role.BROKER)

    (event,) = broker.receive(Encoder().request(1, GetStats()))

    assert error_of(event).text == "STATS: the first frame must be a HELLO"


def test_nothing_is_heard_between_hello_and_welcome() -> None:
    broker = Connection(Role.BROKER)

    events = broker.receive(hello() + Encoder().request(1, GetStats()))

    assert isinstance(events[0], HelloReceived)
    assert "before the hello is answered" in error_of(events[1]).text


def test_second_hello_ends_the_connection() -> None:
    broker = Connection(Role.BROKER)

    assert isinstance(broker.receive(hello() + hello())[1], Failed)


def test_unknown_role_is_refused_with_the_known_ones() -> None:
    (event,) = Connection(Role.BROKER).receive(hello(role="king"))

    assert error_of(event).text == "HELLO: role: 'king' is not one of client, worker"


def test_newer_peer_is_answered_with_the_version_both_speak() -> None:
    broker = Connection(Role.BROKER)
    broker.receive(hello(version=7))
    broker.accept_hello("node1")

    assert msgpack.unpackb(body(broker.data_to_send()))[0] == limits.PROTOCOL_VERSION


def test_welcome_with_a_version_that_was_not_offered_ends_the_connection() -> None:
    peer = Connection(Role.PEER)
    peer.start_hello("client")

    (event,) = peer.receive(Encoder().welcome(Welcomed(2, "node1")))

    assert error_of(event).text == "WELCOME: version 2 was not offered"


def test_welcome_nobody_asked_for_ends_the_connection() -> None:
    assert isinstance(Connection(Role.PEER).receive(Encoder().welcome(Welcomed(1, "n")))[0], Failed)


def test_only_short_frames_are_read_before_the_hello_is_accepted() -> None:
    broker = Connection(Role.BROKER)
    long_hello = frame(FrameType.HELLO, bytes(limits.HELLO_FRAME_BYTES_MAX))

    assert "at most 65536" in error_of(broker.receive(long_hello)[0]).text


def test_broker_with_a_lower_frame_limit_is_not_sent_more() -> None:
    peer = Connection(Role.PEER)
    peer.start_hello("client")
    peer.receive(Encoder().welcome(Welcomed(1, "n", frame_bytes_max=1_000)))

    with pytest.raises(PayloadTooLarge, match="at most 1000 fit one frame"):
        peer.send_request(Submit((TaskSpec(b"i" * 16, "echo", bytes(1_000)),)))


def test_broker_that_names_no_frame_limit_has_ours() -> None:
    peer = Connection(Role.PEER)
    peer.start_hello("client")
    peer.receive(Encoder().welcome(Welcomed(1, "n")))

    assert peer.send_request(Submit((TaskSpec(b"i" * 16, "echo", PAYLOAD),))) == 1


# ---------------------------------------------------------------- requests and replies


def test_replies_find_their_requests_in_any_order() -> None:
    pair = open_pair()
    stats, task = pair.peer.send_request(Ping()), pair.peer.send_request(GetTask(b"i" * 16))
    assert pair.to_broker() == [RequestReceived(stats, Ping()), RequestReceived(task, GetTask(b"i" * 16))]
    assert pair.broker.owed_replies == 2 and pair.peer.awaited_request_ids == [stats, task]

    pair.broker.send_reply(task, SHORT_VIEW)
    pair.broker.send_reply(stats, Done())

    assert pair.to_peer() == [ReplyReceived(task, SHORT_VIEW), ReplyReceived(stats, Done())]
    assert pair.broker.owed_replies == 0 and pair.peer.awaited_request_ids == []


def test_error_reply_keeps_class_and_advice() -> None:
    pair = open_pair()
    pair.peer.send_request(Submit((FULL_TASK,)))
    pair.to_broker()

    pair.broker.send_reply(1, QueueFull("full", retry_after_ms=500))

    (event,) = pair.to_peer()
    assert isinstance(event, ReplyReceived) and isinstance(event.reply, QueueFull)
    assert (event.reply.text, event.reply.retry_after_ms) == ("full", 500)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("rejected", BadRequest),
        ("unavailable", BrokerUnavailable),
        ("unknown", OutcomeUnknown),
        ("new-word", OutcomeUnknown),
    ],
)
def test_error_code_from_the_future_keeps_its_outcome(outcome: str, kind: type[TqError]) -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())

    (event,) = pair.peer.receive(frame(FrameType.NACK, msgpack.packb([1, "QUOTA", outcome, "no"])))

    assert isinstance(event, ReplyReceived) and type(event.reply) is kind
    assert event.reply.text == "QUOTA: no"


def test_request_id_in_flight_may_not_be_used_again() -> None:
    pair = open_pair()
    data = Encoder().request(5, GetStats())

    events = pair.broker.receive(data + data)

    assert events[0] == RequestReceived(5, GetStats())
    assert "request id 5 is not answered yet" in error_of(events[1]).text


def test_answered_request_id_may_be_used_again() -> None:
    pair = open_pair()
    data = Encoder().request(5, Ping())
    pair.broker.receive(data)
    pair.broker.send_reply(5, Done())

    assert pair.broker.receive(data) == [RequestReceived(5, Ping())]


def test_request_over_the_limit_of_unanswered_ones_is_refused() -> None:
    pair = open_pair()
    for _ in range(limits.REQUESTS_MAX):
        pair.peer.send_request(Ping())
    pair.to_broker()
    with pytest.raises(RateLimited):
        pair.peer.send_request(Ping())

    (event,) = pair.broker.receive(Encoder().request(limits.REQUESTS_MAX + 1, Ping()))

    assert isinstance(event, RequestRefused) and isinstance(event.error, RateLimited)
    assert pair.broker.owed_replies == limits.REQUESTS_MAX


def test_request_that_cannot_be_encoded_is_refused_before_it_is_sent() -> None:
    pair = open_pair()

    with pytest.raises(BadRequest, match="cannot be encoded"):
        pair.peer.send_request(Settle((SettleItem(b"i" * 16, 1, 1, b"", "\ud800"),)))
    with pytest.raises(BadRequest, match="cannot be encoded"):
        pair.peer.send_request(GetTask(b"i" * 16, 2**70))

    assert pair.peer.pending_out_bytes == 0 and pair.peer.awaited_request_ids == []
    assert pair.peer.send_request(Ping()) == 1


def test_request_too_large_for_a_frame_is_refused_before_it_is_sent() -> None:
    pair = open_pair()

    with pytest.raises(PayloadTooLarge, match="send smaller batches"):
        pair.peer.send_request(Submit((TaskSpec(b"i" * 16, "a", PAYLOAD), TaskSpec(b"j" * 16, "a", PAYLOAD))))

    assert pair.peer.pending_out_bytes == 0


def test_broker_is_told_whether_the_peer_lives() -> None:
    pair = open_pair()

    request_id = pair.broker.send_request(Ping())

    assert pair.to_peer() == []
    assert pair.to_broker() == [ReplyReceived(request_id, Done())]


def test_wrong_answers_of_our_own_side_are_found_at_once() -> None:
    pair = open_pair()
    pair.peer.send_request(Ping())
    pair.to_broker()

    with pytest.raises(AssertionError, match="never made"):
        pair.broker.send_reply(2, Done())
    with pytest.raises(AssertionError, match="does not answer"):
        pair.broker.send_reply(1, Claimed(()))


# ---------------------------------------------------------------- bytes


def test_pending_bytes_are_what_is_handed_out() -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())
    pair.peer.send_request(GetStats())

    pending = pair.peer.pending_out_bytes

    assert len(pair.peer.data_to_send()) == pending > 0
    assert pair.peer.pending_out_bytes == 0 and pair.peer.data_to_send() == b""


def test_connections_of_one_thread_may_share_an_encoder() -> None:
    encoder = Encoder()
    large = Connection(Role.PEER, encoder)
    other = Connection(Role.PEER, encoder)
    large.start_hello("client")
    large.receive(Encoder().welcome(Welcomed(1, "n")))

    large.send_request(Submit((TaskSpec(b"i" * 16, "a", PAYLOAD),)))
    other.start_hello("client", name="me")

    assert other.data_to_send() == Encoder().hello(HelloReceived(1, "client", "", "me"))
