"""Whatever arrives: an answer that can be read, a closed connection, and never more memory than the frame is worth."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest

from tests.protocol.pairs import Pair, body, new_pair, open_pair
from tq.errors import BadRequest, ProtocolError, Unsupported
from tq.protocol import limits
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Failed, ReplyReceived, RequestReceived, RequestRefused
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import frame
from tq.protocol.strangers import recognise, recognise_server
from tq.protocol.validate import FAULTS_SHOWN_MAX
from tq.verbs import GetStats, Stats, Watch, Watching

LATIN1_TASK = b"\x92\x01\x91\x93\xc4\x10" + b"i" * 16 + b"\xa4gr\xf6n\xc4\x00"


def failure_of(connection: Connection, data: bytes) -> str:
    """The text of the one event these bytes give, which must end the connection."""
    (event,) = connection.receive(data)
    assert isinstance(event, Failed) and isinstance(event.error, ProtocolError)
    assert connection.is_closed
    return event.error.text


def refusal_of(pair: Pair, kind: int, content: bytes) -> str:
    """The text of the NACK these bytes give; the connection must live on."""
    (event,) = pair.broker.receive(frame(kind, content))
    assert isinstance(event, RequestRefused) and event.request_id == 1
    nack = pair.broker.data_to_send()
    assert nack[4] == FrameType.NACK and msgpack.unpackb(body(nack))[0] == 1
    assert pair.broker.is_open
    return event.error.text


# ---------------------------------------------------------------- strangers


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"PUT /x HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_http_client_reads_one_line_that_says_what_this_port_is(greeting: bytes) -> None:
    broker = Connection(Role.BROKER)

    assert "HTTP client" in failure_of(broker, greeting)

    head, _, line = broker.data_to_send().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"Content-Length: {len(line)}".encode() in head and b"Connection: close" in head
    assert line.count(b"\n") == 1 and b"tq" in line


@pytest.mark.parametrize(
    "greeting", [b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"*2\r\n$5\r\nHELLO\r\n", b"AUTH x\r\n"]
)
def test_redis_client_reads_an_error_that_says_what_this_port_is(greeting: bytes) -> None:
    broker = Connection(Role.BROKER)

    assert "Redis client" in failure_of(broker, greeting)

    answer = broker.data_to_send()
    assert answer.startswith(b"-ERR ") and answer.endswith(b"\r\n") and answer.count(b"\r\n") == 1


def test_tls_client_gets_an_answer_that_is_no_tls_and_a_reason_is_in_the_log() -> None:
    broker = Connection(Role.BROKER)

    assert "TLS" in failure_of(broker, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert broker.data_to_send() == b"tq: TLS is off at this port\n"


def test_stranger_is_recognised_however_the_greeting_is_cut() -> None:
    greeting = b"GET / HTTP/1.1\r\n"
    for at in range(1, len(greeting)):
        broker = Connection(Role.BROKER)

        events = broker.receive(greeting[:at]) + broker.receive(greeting[at:])

        assert [type(event) for event in events] == [Failed]
        assert broker.data_to_send().startswith(b"HTTP/1.1 400")


def test_greeting_of_a_stranger_is_no_length_of_a_frame() -> None:
    """Or else they would be waited for instead of answered."""
    for first in (b"GET ", b"*1\r\n", b"PING", b"\x16\x03\x01\x00", b"HTTP", b"-ERR", b"\x15\x03\x01\x00"):
        assert recognise(first) or recognise_server(first)
        assert int.from_bytes(first, "big") > limits.PEER_FRAME_BYTES_MAX


def test_unknown_stranger_gets_a_close() -> None:
    broker = Connection(Role.BROKER)

    assert "1397966893 bytes" in failure_of(broker, b"SSH-2.0-x\r\n")
    assert broker.data_to_send()[4] == FrameType.CLOSE


def test_words_of_a_stranger_are_only_a_bad_length_once_the_hello_is_through() -> None:
    broker = open_pair().broker

    assert "1195725856 bytes" in failure_of(broker, b"GET /")
    assert broker.data_to_send()[4] == FrameType.CLOSE


@pytest.mark.parametrize(
    ("answer", "word"),
    [(b"HTTP/1.1 400 Bad Request", "HTTP"), (b"-ERR unknown", "Redis"), (b"\x15\x03\x01\x00\x02", "TLS")],
)
def test_peer_is_told_what_it_dialled_instead_of_a_broker(answer: bytes, word: str) -> None:
    peer = Connection(Role.PEER)
    peer.start_hello("client")

    assert word in failure_of(peer, answer)


def test_peer_that_hears_noise_says_so() -> None:
    peer = Connection(Role.PEER)
    peer.start_hello("client")

    assert "bytes; at most" in failure_of(peer, b"\xff\xff\xff\xff")


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("length", [0, limits.HELLO_FRAME_BYTES_MAX + 1, 2**31, 2**32 - 1])
def test_bad_length_before_the_hello_is_refused_on_its_fourth_byte(length: int) -> None:
    broker, header = Connection(Role.BROKER), length.to_bytes(4, "big")

    assert broker.receive(header[:3]) == []
    assert f"{length}" in failure_of(broker, header[3:])


@pytest.mark.parametrize("length", [0, limits.FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_bad_length_after_the_hello_is_refused_on_its_fourth_byte(length: int) -> None:
    broker, header = open_pair().broker, length.to_bytes(4, "big")

    assert broker.receive(header[:3]) == []
    assert f"{length}" in failure_of(broker, header[3:])


def test_frames_before_a_bad_length_count() -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())

    events = pair.broker.receive(pair.peer.data_to_send() + bytes(4))

    assert [type(event) for event in events] == [RequestReceived, Failed]


def test_nothing_is_heard_after_a_failure() -> None:
    broker = Connection(Role.BROKER)
    failure_of(broker, bytes(4))

    assert broker.receive(bytes(100)) == []
    assert broker.receive_eof() == []


def test_declared_length_takes_no_memory() -> None:
    broker = open_pair().broker
    tracemalloc.start()
    try:
        assert broker.receive(limits.FRAME_BYTES_MAX.to_bytes(4, "big")) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        b"\x90",
        b"\x91\x00",
        b"\x91\xff",
        b"\x91\xc3",
        b"\x91\xcf" + b"\xff" * 8,
        b"\x80",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 100_000,
    ],
    ids=lambda content: content[:8].hex() or "empty",
)
@pytest.mark.parametrize("kind", [FrameType.SUBMIT_TASK, FrameType.ACK, 200])
def test_body_without_a_request_id_ends_the_connection(content: bytes, kind: int) -> None:
    assert failure_of(open_pair().broker, frame(kind, content))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x92\x01\xc1", "msgpack"),
        (b"\x92\x01", "incomplete"),
        (b"\x92\x01\x90\x00", "extra"),
        (b"\x92\x01\xd4\x05\x00", "ext"),
        (b"\x92\x01\xc7\x00\x05", "ext type 5"),
        (b"\x92\x01\xd6\xff\x00\x00\x00\x00", "ext"),
        (b"\x92\x01\x81\x01\x02", "map key"),
        (b"\x92\x01\x81\x90\x02", "map key"),
        (b"\x92\x01\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\x92\x01\xdf\xff\xff\xff\xff", "max_map_len"),
        (b"\x92\x01\xdb\xff\xff\xff\xff", "incomplete"),
        (b"\x92\x01\xc6\xff\xff\xff\xff", "incomplete"),
        (b"\x92\x01" + b"\x91" * 100_000, "nested too deeply"),
        (b"\x92\x01" + b"\x81\xa1a" * 100_000, "nested too deeply"),
        (LATIN1_TASK, "utf-8"),
    ],
    ids=lambda value: value[:8].hex() if isinstance(value, bytes) else value,
)
def test_body_that_is_broken_behind_its_request_id_is_refused(content: bytes, word: str) -> None:
    assert word in refusal_of(open_pair(), FrameType.SUBMIT_TASK, content)


def test_a_frame_is_told_every_field_that_is_wrong_in_it() -> None:
    wrong = [b"short", "", b"", "default", 300]
    batch = msgpack.packb([1, [wrong, [b"i" * 16, "t"], 7]])
    settle = msgpack.packb([1, [[b"i" * 16, -1, 99]]])

    assert refusal_of(open_pair(), FrameType.SUBMIT_TASK, batch) == (
        "tasks[0].task_id: 5 bytes; an id is 16 bytes; "
        "tasks[0].task_type: '' has 0 characters; 1 to 255 characters; "
        "tasks[0].priority: 300 is out of range; 0 to 255; tasks[2]: 7 is not a list of fields"
    )
    assert refusal_of(open_pair(), FrameType.TASK_RESULT, settle) == (
        "items[0].token: -1 is out of range; 0 to 9223372036854775807; "
        "items[0].cause: 99 is out of range; 0 to 8"
    )


def test_a_frame_with_thousands_of_wrong_fields_is_told_the_first_ones() -> None:
    rows = [[b"no id of anything", "", b""]] * 1_000

    text = refusal_of(open_pair(), FrameType.SUBMIT_TASK, msgpack.packb([1, rows]))

    assert text.count("tasks[") == FAULTS_SHOWN_MAX and "tasks[24].task_type" in text


def test_what_may_be_nothing_is_no_fault_among_faults() -> None:
    row = [b"no id of anything", "", b"", "default", 0, 0, 0, 1_000, 3, None]

    text = refusal_of(open_pair(), FrameType.SUBMIT_TASK, msgpack.packb([1, [row]]))

    assert "tasks[0].task_id" in text and "tasks[0].task_type" in text and "retry" not in text


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nested_lists_that_claim_to_be_long_take_bounded_memory(depth: int) -> None:
    """Lists are allocated when their length is read, so a thousand of them in each other are the worst there is."""
    broker = open_pair().broker
    content = b"\x92\x01" + b"\xdc\x03\xe8" * depth
    tracemalloc.start()
    try:
        broker.receive(frame(FrameType.SUBMIT_TASK, content))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_largest_batch_of_the_shortest_rows_still_fits_the_limits() -> None:
    pair = open_pair()
    watch = Watch(tuple(n.to_bytes(16, "big") for n in range(limits.BATCH_ITEMS_MAX)))
    pair.peer.send_request(watch)

    assert pair.to_broker() == [RequestReceived(1, watch)]

    pair.broker.send_reply(1, Watching((), watch.task_ids))
    assert len(pair.to_peer()) == 1


# ---------------------------------------------------------------- types


def test_unknown_type_with_a_request_id_is_unsupported_and_the_connection_lives() -> None:
    pair = open_pair()

    (event,) = pair.broker.receive(frame(200, b"\x92\x01\xc0"))

    assert isinstance(event, RequestRefused) and isinstance(event.error, Unsupported)
    assert "200" in event.error.text
    assert pair.broker.is_open


def test_unknown_type_from_a_newer_broker_is_passed_over() -> None:
    pair = open_pair()

    assert pair.peer.receive(frame(200, b"\x91\x01")) == []
    assert pair.peer.is_open


@pytest.mark.parametrize(
    "kind", [FrameType.DELIVER, FrameType.TASK_ENDED, FrameType.WELCOME, FrameType.HELLO]
)
def test_frame_in_the_wrong_direction_ends_the_connection(kind: FrameType) -> None:
    assert kind.name in failure_of(open_pair().broker, frame(kind, b"\x91\x90"))


@pytest.mark.parametrize("kind", [FrameType.SUBMIT_TASK, FrameType.HELLO, FrameType.STATS])
def test_request_to_a_peer_ends_the_connection(kind: FrameType) -> None:
    assert kind.name in failure_of(open_pair().peer, frame(kind, b"\x91\x01"))


@pytest.mark.parametrize("content", [b"\x90", b"\x91\x05", b"\x91\x91\x90", b"\xc0"])
def test_bad_push_ends_the_connection(content: bytes) -> None:
    assert "DELIVER" in failure_of(open_pair().peer, frame(FrameType.DELIVER, content))


def test_endless_text_from_a_broker_ends_the_connection() -> None:
    text = msgpack.packb([1, "r" * (limits.PEER_TEXT_CHARS_MAX + 1)])

    assert "1000001 characters" in failure_of(open_pair().peer, frame(FrameType.DRAINING, text))


@pytest.mark.parametrize("content", [b"\x91\x02", b"\x92\x01\x05", b"\x91\x01"])
def test_bad_reply_ends_the_connection(content: bytes) -> None:
    """One that nobody waits for, one with the wrong field, one without any."""
    pair = open_pair()
    pair.peer.send_request(GetStats())

    assert "ACK" in failure_of(pair.peer, frame(FrameType.ACK, content))


@pytest.mark.parametrize("paused", [True, 1])
def test_flags_of_many_rows_are_checked_too(paused: object) -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())
    queues = [[f"q{n}", *[0] * 7, paused] for n in range(20)]

    (event,) = pair.peer.receive(frame(FrameType.ACK, msgpack.packb([1, *[0] * 17, queues])))

    if paused is True:
        assert isinstance(event, ReplyReceived) and isinstance(event.reply, Stats)
        assert all(queue.paused is True for queue in event.reply.queues)
    else:
        assert isinstance(event, Failed)
        assert event.error.text == "ACK: queues[0].paused: 1 is not true or false"


def test_error_reply_without_a_code_ends_the_connection() -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())

    assert "without a code" in failure_of(pair.peer, frame(FrameType.NACK, b"\x92\x01\xa0"))


def test_close_that_cannot_be_read_ends_the_connection_all_the_same() -> None:
    assert "CLOSE" in failure_of(open_pair().broker, frame(FrameType.CLOSE, b"\x91\x05"))


def test_refused_request_leaves_the_ones_before_and_after_alone() -> None:
    pair = open_pair()
    pair.peer.send_request(GetStats())
    first = pair.peer.data_to_send()
    pair.peer.send_request(GetStats())
    last = frame(FrameType.STATS, b"\x91\x03")

    events = pair.broker.receive(first + frame(FrameType.QUERY_STATUS, b"\x92\x02\x00") + last)

    assert [type(event) for event in events] == [RequestReceived, RequestRefused, RequestReceived]
    refused = events[1]
    assert isinstance(refused, RequestRefused) and isinstance(refused.error, BadRequest)


def test_unreadable_body_with_an_id_in_use_ends_the_connection() -> None:
    """A NACK would answer the request that is under way."""
    pair = open_pair()
    pair.peer.send_request(GetStats())
    pair.to_broker()

    assert failure_of(pair.broker, frame(FrameType.SUBMIT_TASK, b"\x92\x01\xc1"))


def test_failure_is_told_to_the_other_side() -> None:
    pair = new_pair()
    pair.peer.start_hello("client")
    pair.peer.data_to_send()
    pair.broker.receive(bytes(4))

    (event,) = pair.to_peer()

    assert isinstance(event, CloseReceived) and isinstance(event.error, ProtocolError)
