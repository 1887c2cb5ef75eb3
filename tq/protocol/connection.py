"""The state of one connection, without I/O: bytes in, events out; verbs in, bytes out. Both roles.

    connection = Connection(Role.BROKER)
    for event in connection.receive(data): ...      # never raises for what the other side sends
    connection.send_reply(request_id, reply)
    transport.write(connection.data_to_send())      # once per turn of the loop
    if connection.is_closed: hang up

The order on the wire: the peer's HELLO, the broker's WELCOME (or CLOSE), then requests, replies and pushes in any
order, then at most one CLOSE from each side. Until its WELCOME a peer sends nothing else.

A frame whose body is wrong but whose request id can be read is refused with a NACK, and the connection lives on.
Anything else that breaks the rules ends it: `Failed`, with a CLOSE that says why. `events.py` has the events.
"""

from __future__ import annotations

from enum import Enum
from typing import cast

from tq.errors import (
    BadRequest,
    BrokerUnavailable,
    PayloadTooLarge,
    ProtocolError,
    RateLimited,
    TqError,
    Unsupported,
)
from tq.protocol import decoder, limits, strangers
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
from tq.protocol.fields import Fault
from tq.protocol.frame_types import KNOWN_TYPES, PUSH_OF_TYPE, REQUEST_OF_TYPE, FrameType
from tq.protocol.frames import LENGTH_BYTES, FrameReader
from tq.protocol.split import split_push, split_reply
from tq.protocol.validate import refusal
from tq.task import PAYLOAD_BYTES_MAX
from tq.verbs import REPLY_OF, Done, Ping, Push, Reply, Request


class Role(Enum):
    """Which end this is."""

    BROKER = "broker"
    """Took the connection, reads requests, may push."""
    PEER = "peer"
    """Dialled: a client or a worker."""


# How far a connection has come. Plain integers: they are compared several times per frame.
_NEW, _GREETED, _OPEN, _CLOSED = range(4)


class Connection:
    """One connection, either end. Not for use from two threads at once.

    role: which end this is. encoder: shared by connections of one thread to save memory; made when not given.
    """

    def __init__(self, role: Role, encoder: Encoder | None = None) -> None:
        self._at_broker = role is Role.BROKER
        self._phase = _NEW
        self._encoder = encoder or Encoder()
        self._reader = FrameReader(limits.HELLO_FRAME_BYTES_MAX)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._owed: dict[int, type[Reply]] = {}
        """request id -> reply class, for requests received and not answered"""
        self._awaited: dict[int, type[Reply]] = {}
        """the same for requests sent"""
        self._last_request_id = 0
        self._version = limits.PROTOCOL_VERSION
        self._list_items_max = limits.BATCH_ITEMS_MAX if self._at_broker else limits.PEER_LIST_ITEMS_MAX
        self._in_frame_bytes_max = limits.FRAME_BYTES_MAX if self._at_broker else limits.PEER_FRAME_BYTES_MAX
        self._out_frame_bytes_max = limits.PEER_FRAME_BYTES_MAX if self._at_broker else limits.FRAME_BYTES_MAX

    @property
    def is_open(self) -> bool:
        """The hello is through and nothing has ended the connection."""
        return self._phase == _OPEN

    @property
    def is_closed(self) -> bool:
        """Nothing more is received or sent: write what `data_to_send` still holds, then hang up."""
        return self._phase == _CLOSED

    @property
    def pending_out_bytes(self) -> int:
        """Bytes queued for `data_to_send`."""
        return self._out_bytes

    @property
    def owed_replies(self) -> int:
        """Requests received and not answered yet."""
        return len(self._owed)

    @property
    def awaited_request_ids(self) -> list[int]:
        """Requests sent and not answered yet, in order: at the connection's end their outcome is unknown."""
        return list(self._awaited)

    # ------------------------------------------------------------ receiving

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes mean, in order. Never raises for what the other side sends; [] once closed."""
        events: list[Event] = []
        if self._phase == _CLOSED:
            return events
        for kind, body in self._reader.feed(data):
            try:
                self._receive_frame(kind, body, events)
            except Fault as fault:
                self._fail(ProtocolError(f"{_name(kind)}: {fault.error().text}"), events)
            if self.is_closed:
                return events
        if self._reader.error is not None:
            self._lose_track(self._reader.error, events)
        return events

    def receive_eof(self) -> list[Event]:
        """The other side will send no more. [] when a CLOSE went before, else one `Failed`."""
        if self._phase == _CLOSED:
            return []
        self._phase = _CLOSED
        if self._reader.is_between_frames:
            return [Failed(BrokerUnavailable("the other side hung up without a CLOSE"))]
        return [Failed(ProtocolError("the other side hung up in the middle of a frame"))]

    def _receive_frame(self, kind: int, body: bytes | bytearray, events: list[Event]) -> None:
        if self._phase != _OPEN:
            self._receive_greeting(kind, body, events)
        elif kind in REQUEST_OF_TYPE:
            self._receive_request(kind, body, events)
        elif kind == FrameType.ACK or kind == FrameType.NACK:
            self._receive_reply(kind, body, events)
        elif kind in PUSH_OF_TYPE and not self._at_broker:
            record = PUSH_OF_TYPE[kind]
            events.append(PushReceived(cast(Push, record.read(self._unpack(body)))))
        elif kind == FrameType.CLOSE:
            self._receive_close(body, events)
        elif kind in KNOWN_TYPES:
            raise Fault("this side does not take this frame, or not now")
        else:
            self._receive_unknown(kind, body, events)

    def _receive_greeting(self, kind: int, body: bytes | bytearray, events: list[Event]) -> None:
        if kind == FrameType.CLOSE:
            self._receive_close(body, events)
        elif kind == FrameType.HELLO and self._at_broker and self._phase == _NEW:
            hello = decoder.read_hello(self._unpack(body))
            self._version = min(hello.version, limits.PROTOCOL_VERSION)
            self._phase = _GREETED
            events.append(hello)
        elif kind == FrameType.WELCOME and not self._at_broker and self._phase == _GREETED:
            self._receive_welcome(body, events)
        elif self._at_broker and self._phase == _NEW:
            raise Fault("the first frame must be a HELLO")
        else:
            raise Fault("nothing may be sent before the hello is answered")

    def _receive_welcome(self, body: bytes | bytearray, events: list[Event]) -> None:
        welcome = decoder.read_welcome(self._unpack(body))
        if welcome.version > self._version:
            raise Fault(f"version {welcome.version} was not offered")
        if welcome.frame_bytes_max:
            self._out_frame_bytes_max = welcome.frame_bytes_max
        self._open()
        events.append(welcome)

    def _receive_close(self, body: bytes | bytearray, events: list[Event]) -> None:
        error = decoder.read_error(self._unpack(body))
        self._phase = _CLOSED
        events.append(CloseReceived(error))

    def _receive_request(self, kind: int, body: bytes | bytearray, events: list[Event]) -> None:
        if not self._at_broker and kind != FrameType.PING:
            raise Fault("a peer takes no requests but PING")
        try:
            values = self._unpack(body)
        except Fault as fault:
            self._refuse_unreadable(body, fault, events)
            return
        request_id = decoder.read_request_id(values)
        if request_id in self._owed:
            raise Fault(f"request id {request_id} is not answered yet; a new request takes a new id")
        if len(self._owed) >= limits.REQUESTS_MAX:
            text = f"{limits.REQUESTS_MAX} requests of this connection wait for an answer; wait for one"
            self._refuse(request_id, RateLimited(text), events)
            return
        record = REQUEST_OF_TYPE[kind]
        try:
            request = cast(Request, record.read(values[1:]))
        except Fault:
            self._refuse(request_id, refusal(record, values[1:]), events)
            return
        if not self._at_broker:
            self._queue(self._encoder.reply(request_id, Done()))
            return
        self._owed[request_id] = REPLY_OF[type(request)]
        events.append(RequestReceived(request_id, request))

    def _receive_reply(self, kind: int, body: bytes | bytearray, events: list[Event]) -> None:
        values = self._unpack(body)
        request_id = decoder.read_request_id(values)
        reply_kind = self._awaited.get(request_id)
        if reply_kind is None:
            raise Fault(f"no request {request_id} waits for an answer")
        reply: Reply | TqError | None
        if kind == FrameType.ACK:
            reply = decoder.read_reply(reply_kind, values)
        else:
            reply = decoder.read_error(values[1:])
            if reply is None:
                raise Fault("an error without a code")
        del self._awaited[request_id]
        events.append(ReplyReceived(request_id, reply))

    def _receive_unknown(self, kind: int, body: bytes | bytearray, events: list[Event]) -> None:
        if not self._at_broker:
            return  # something a newer broker tells those who know it
        request_id = decoder.guess_request_id(body)
        if not request_id or request_id in self._owed:
            raise Fault("this type is not known, and no new request id is in the body")
        self._refuse(request_id, Unsupported(f"frame type {kind} is not known to this broker"), events)

    def _refuse_unreadable(self, body: bytes | bytearray, fault: Fault, events: list[Event]) -> None:
        request_id = decoder.guess_request_id(body)
        if not request_id or request_id in self._owed:
            raise fault
        self._refuse(request_id, fault.error(), events)

    def _refuse(self, request_id: int, error: TqError, events: list[Event]) -> None:
        self._queue(self._encoder.error_reply(request_id, error))
        events.append(RequestRefused(request_id, error))

    def _fail(self, error: TqError, events: list[Event]) -> None:
        self.send_close(error)
        events.append(Failed(error))

    def _lose_track(self, error: ProtocolError, events: list[Event]) -> None:
        """The bytes are no frames. Before the hello that is mostly somebody at the wrong door: tell them."""
        first = self._reader.stranger
        if self._at_broker and self._phase == _NEW and (found := strangers.recognise(first)):
            self._queue(found.answer)
            self._phase = _CLOSED
            events.append(Failed(ProtocolError(found.text)))
        elif not self._at_broker and self._phase == _GREETED and (text := strangers.recognise_server(first)):
            self._phase = _CLOSED
            events.append(Failed(ProtocolError(text)))
        else:
            self._fail(error, events)

    def _unpack(self, body: bytes | bytearray) -> tuple[object, ...]:
        return decoder.unpack(body, self._list_items_max)

    def _open(self) -> None:
        self._phase = _OPEN
        self._reader.frame_bytes_max = self._in_frame_bytes_max

    # ------------------------------------------------------------ sending: the peer's side

    def start_hello(self, role_name: str, token: str = "", name: str = "", software: str = "") -> None:
        """Introduce this side; `Welcomed`, `CloseReceived` or `Failed` answers. Once, before anything else.

        role_name: `client` or `worker`. token: the API key, empty = none. name, software: for people.
        """
        assert not self._at_broker and self._phase == _NEW, "a peer says hello first, and once"
        self._phase = _GREETED
        self._queue(self._encoder.hello(HelloReceived(self._version, role_name, token, name, software)))

    def send_request(self, request: Request) -> int:
        """Queue a request and return the id its `ReplyReceived` will have. A broker may only send Ping.

        Raises BrokerUnavailable when the connection is not open, RateLimited when `limits.REQUESTS_MAX` wait for
        their answer, PayloadTooLarge when it does not fit one frame, BadRequest when a field cannot be encoded:
        nothing was sent then.
        """
        if self._phase != _OPEN:
            raise BrokerUnavailable("the connection is not open")
        if len(self._awaited) >= limits.REQUESTS_MAX:
            raise RateLimited(f"{limits.REQUESTS_MAX} requests wait for their answer; wait for one")
        assert not self._at_broker or type(request) is Ping, "a broker sends no requests but Ping"
        request_id = self._last_request_id + 1
        data = self._encoder.request(request_id, request)
        if not self._fits(data):
            text = f"the request takes {len(data)} bytes; at most {self._out_frame_bytes_max} fit one frame: "
            raise PayloadTooLarge(text + "send smaller batches")
        self._last_request_id = request_id
        self._awaited[request_id] = REPLY_OF[type(request)]
        self._queue(data)
        return request_id

    # ------------------------------------------------------------ sending: the broker's side

    def accept_hello(
        self, node_id: str, cluster_id: str = "", *, heartbeat_ms: int = limits.HEARTBEAT_MS_ADVISED
    ) -> None:
        """Answer `HelloReceived` with a WELCOME; from here on requests are read."""
        assert self._at_broker and self._phase == _GREETED, "there is no hello to answer"
        self._open()
        welcome = Welcomed(
            version=self._version,
            node_id=node_id,
            cluster_id=cluster_id,
            frame_bytes_max=limits.FRAME_BYTES_MAX,
            payload_bytes_max=PAYLOAD_BYTES_MAX,
            batch_items_max=limits.BATCH_ITEMS_MAX,
            requests_max=limits.REQUESTS_MAX,
            heartbeat_ms=heartbeat_ms,
        )
        self._queue(self._encoder.welcome(welcome))

    def refuse_hello(self, error: TqError) -> None:
        """Answer `HelloReceived` with a CLOSE that says why."""
        self.send_close(error)

    def send_reply(self, request_id: int, reply: Reply | TqError) -> None:
        """Answer a `RequestReceived`, exactly once. Dropped without a word when the connection has ended meanwhile.

        A Claimed or Watching too large for one frame is continued by Deliver or TaskEnded pushes; another reply
        that does not fit becomes an error that says to ask for less.
        """
        if self._phase != _OPEN:
            return
        expected = self._owed.pop(request_id, None)
        assert expected, f"request {request_id} was answered before, or never made"
        if isinstance(reply, TqError):
            self._queue(self._encoder.error_reply(request_id, reply))
            return
        assert type(reply) is expected, f"{type(reply).__name__} does not answer request {request_id}"
        self._queue_reply(request_id, reply)

    def send_push(self, push: Push) -> None:
        """Tell the peer unasked. Dropped without a word when the connection is not open.

        A Deliver, Abort or TaskEnded too large for one frame goes out as several.
        """
        if self._phase != _OPEN:
            return
        data = self._encoder.push(push)
        if self._fits(data):
            self._queue(data)
            return
        halves = split_push(push)
        assert halves, "one row of a push always fits one frame"
        for half in halves:
            self.send_push(half)

    def _queue_reply(self, request_id: int, reply: Reply) -> None:
        data = self._encoder.reply(request_id, reply)
        if self._fits(data):
            self._queue(data)
        elif parts := split_reply(reply):
            self._queue_reply(request_id, parts[0])
            self.send_push(parts[1])
        else:
            text = (
                f"the answer takes {len(data)} bytes; {self._out_frame_bytes_max} fit one frame: ask for less"
            )
            self._queue(self._encoder.error_reply(request_id, BadRequest(text)))

    # ------------------------------------------------------------ sending: both sides

    def send_close(self, error: TqError | None = None) -> None:
        """End the connection; None = in order. What is queued before still goes out. Nothing happens if it has ended."""
        if self._phase != _CLOSED:
            self._queue(self._encoder.close(error))
            self._phase = _CLOSED

    def data_to_send(self) -> bytes:
        """All bytes queued since the last call; empty = none."""
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        return data

    def _queue(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    def _fits(self, data: bytes) -> bool:
        return len(data) - LENGTH_BYTES <= self._out_frame_bytes_max


def _name(kind: int) -> str:
    return FrameType(kind).name if kind in KNOWN_TYPES else f"frame type {kind}"
