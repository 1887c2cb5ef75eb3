"""One connection from the hello to its end."""

from __future__ import annotations

import msgpack
import pytest

from tests.protocol.cases import DELIVERY, FULL_TASK, SHORT_VIEW
from tests.protocol.pairs import Pair, body, new_pair, open_pair
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokerUnavailable,
    OutcomeUnknown,
    PayloadTooLarge,
    ProtocolError,
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
    PushReceived,
    ReplyReceived,
    RequestReceived,
    RequestRefused,
    Welcomed,
)
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import FrameReader, frame
from tq.task import PAYLOAD_BYTES_MAX, TaskSpec, TaskView
from tq.verbs import (
    Abort,
    Claim,
    Claimed,
    Deliver,
    Done,
    Draining,
    GetStats,
    GetTask,
    ListTasks,
    Ping,
    Push,
    Settle,
    SettleItem,
    Submit,
    TaskEnded,
    TaskPage,
    Watch,
    Watching,
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


# ---------------------------------------------------------------- large answers


def rows_of(pushes: list[Event]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for event in pushes:
        assert isinstance(event, PushReceived) and not isinstance(event.push, Draining)
        rows += event.push[0]
    return rows


@pytest.mark.parametrize(
    "push",
    [
        Deliver(tuple(DELIVERY._replace(token=n, payload=PAYLOAD) for n in range(5))),
        TaskEnded(tuple(SHORT_VIEW._replace(token=n, result=PAYLOAD) for n in range(5))),
        Abort(tuple((b"i" * 16, n, "r" * 900_000) for n in range(50))),
    ],
    ids=lambda push: type(push).__name__,
)
def test_push_too_large_for_a_frame_goes_out_as_several_in_order(push: Push) -> None:
    pair = open_pair()
    pair.broker.send_push(push)

    events = pair.to_peer()

    assert len(events) > 1
    assert rows_of(events) == list(push[0])


def test_claimed_too_large_for_a_frame_is_continued_by_deliver() -> None:
    pair = open_pair()
    pair.peer.send_request(Claim(5))
    pair.to_broker()
    tasks = tuple(DELIVERY._replace(token=n, payload=PAYLOAD) for n in range(5))

    pair.broker.send_reply(1, Claimed(tasks))

    reply, *pushes = pair.to_peer()
    assert isinstance(reply, ReplyReceived) and isinstance(reply.reply, Claimed)
    assert [*reply.reply.tasks, *rows_of(pushes)] == list(tasks)


def test_watching_too_large_for_a_frame_is_continued_by_task_ended() -> None:
    pair = open_pair()
    pair.peer.send_request(Watch((b"i" * 16,)))
    pair.to_broker()
    ended = tuple(SHORT_VIEW._replace(token=n, result=PAYLOAD) for n in range(4))

    pair.broker.send_reply(1, Watching(ended, (b"u" * 16,)))

    reply, *pushes = pair.to_peer()
    assert isinstance(reply, ReplyReceived) and isinstance(reply.reply, Watching)
    assert reply.reply.unknown == (b"u" * 16,)
    assert [*reply.reply.ended, *rows_of(pushes)] == list(ended)


def test_page_too_large_for_a_frame_becomes_an_error_that_says_so() -> None:
    pair = open_pair()
    pair.peer.send_request(ListTasks())
    pair.to_broker()
    tasks = tuple(SHORT_VIEW._replace(result=PAYLOAD) for _ in range(4))

    pair.broker.send_reply(1, TaskPage(tasks, 4, 4, 0, 0))

    (event,) = pair.to_peer()
    assert isinstance(event, ReplyReceived) and isinstance(event.reply, BadRequest)
    assert "ask for less" in event.reply.text


def test_view_with_the_largest_of_everything_fits_one_frame() -> None:
    attempts = tuple((n, "w", n, 0, 0, 1, "\U0001f600" * 16_384) for n in range(100))
    view = SHORT_VIEW._replace(result=PAYLOAD, payload=PAYLOAD, attempts=attempts)  # type: ignore[arg-type]
    pair = open_pair()
    pair.peer.send_request(GetTask(view.task_id, with_payload=True))
    pair.to_broker()

    pair.broker.send_reply(1, view)

    (event,) = pair.to_peer()
    assert isinstance(event, ReplyReceived) and isinstance(event.reply, TaskView)
    assert len(event.reply.attempts) == 100


# ---------------------------------------------------------------- the end


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


def test_frames_come_out_whole_from_any_pieces() -> None:
    messages = [frame(kind, bytes(size)) for kind, size in ((1, 0), (2, 70_000), (255, 3), (4, 65_536))]
    data = b"".join(messages)
    for step in (1, 4, 5, 1_000, 65_536, len(data)):
        reader = FrameReader(100_000)

        frames = [found for at in range(0, len(data), step) for found in reader.feed(data[at : at + step])]

        assert [frame(kind, bytes(content)) for kind, content in frames] == messages
        assert reader.is_between_frames


def test_largest_frame_in_small_pieces_is_not_copied_again_and_again() -> None:
    """A reader that joins what it holds on every feed would copy 5 * 10^11 bytes here, for minutes."""
    message, step = memoryview(frame(1, bytes(limits.FRAME_BYTES_MAX - 1))), 256
    reader = FrameReader(limits.FRAME_BYTES_MAX)

    frames = [
        found for at in range(0, len(message), step) for found in reader.feed(bytes(message[at : at + step]))
    ]

    assert len(frames) == 1


def test_reader_gives_nothing_more_after_a_bad_length() -> None:
    reader = FrameReader(100)
    reader.feed(bytes(4))

    assert reader.error is not None
    assert reader.feed(frame(1, b"")) == []


def test_push_that_cannot_be_halved_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="always fits one frame"):
        open_pair().broker.send_push(Draining(1, "r" * 40_000_000))
