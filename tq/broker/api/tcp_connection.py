"""One accepted TCP connection: socket bytes to the protocol core, its requests to the service, answers back.

Rules of the file:
- No task, future or timer per request or per connection: the door's sweep looks at all of them in turn.
- Answers may come at once or later, in any order. Whatever a loop turn produces leaves in one `transport.write`.
- A peer is held by three bounds. Unanswered bytes or requests over the limit: its socket is not read until half
  of them are answered. Unread answers over the high mark: the same, and closed if it goes on not reading. Silence:
  closed. The other connections never wait for any of it.
- `_depart` runs once per connection, whatever ends it: the backend hears of it, and nothing is sent to it after.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from tq.broker.access import BUSY_RETRY_MS, Principal
from tq.broker.service import Caller
from tq.errors import AuthenticationFailed, BrokerUnavailable, ProtocolError, TqError
from tq.logs import get_logger
from tq.protocol.connection import Connection, Role
from tq.protocol.events import (
    CloseReceived,
    Event,
    Failed,
    HelloReceived,
    RequestReceived,
    RequestRefused,
)
from tq.verbs import Push, Reply

if TYPE_CHECKING:
    from tq.broker.api.tcp import TcpDoor

_log = get_logger("tcp")

# Waits for the hello; has it and waits for the verdict on its token; in use; told that it ends; ended.
_HELLO, _CHECKING, _OPEN, _LINGERING, _GONE = range(5)


class _Read:
    """What one read of the socket brought: its bytes count as in flight until all its requests are answered."""

    __slots__ = ("bytes", "unanswered")

    def __init__(self, bytes_read: int) -> None:
        self.bytes = bytes_read
        self.unanswered = 1  # itself, until all its events have been seen


class TcpConnection(asyncio.Protocol):
    """The broker's end of one connection; for the backend it is the `Peer`."""

    __slots__ = (
        "_bytes_in_flight",
        "_caller",
        "_core",
        "_door",
        "_heard_bytes",
        "_heard_ms",
        "_host",
        "_is_dirty",
        "_is_reading",
        "_name",
        "_peer",
        "_sent_mark",
        "_since_ms",
        "_stage",
        "_stuck_since_ms",
        "_transport",
        "_written_bytes",
    )

    def __init__(self, door: TcpDoor) -> None:
        self._door = door
        self._core = Connection(Role.BROKER, door.encoder)
        self._transport: asyncio.Transport  # set by connection_made, before all else
        self._caller: Caller | None = None
        self._name = ""
        self._host = self._peer = ""
        self._stage = _HELLO
        self._since_ms = self._heard_ms = (
            door.now_ms()
        )  # when this stage began; when the last whole frame came
        self._heard_bytes = 0  # received since then
        self._bytes_in_flight = 0
        self._is_reading = True
        self._is_dirty = False
        self._stuck_since_ms = -1  # since when the peer is behind with reading; -1 = it is not
        self._sent_mark = 0  # bytes it had taken then
        self._written_bytes = 0

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._host, self._peer = _address_of(self._transport)
        limits = self._door.limits
        self._transport.set_write_buffer_limits(limits.out_high_bytes, limits.out_low_bytes)
        self._door.arrived(self)

    def data_received(self, data: bytes) -> None:
        if self._stage >= _LINGERING:
            return
        # What this read leads to is flushed at its end; until then nobody else need schedule it.
        self._is_dirty = True
        self._heard_bytes += len(data)
        events = self._core.receive(data)
        if events:
            self._take(events)
        self._flush()

    def eof_received(self) -> None:
        """The peer will send no more. Returning None lets the transport close."""
        for event in self._core.receive_eof():
            if isinstance(event, Failed):
                _log.debug("peer_left", event.error.text, **self.description)
        self._depart("peer_left")

    def pause_writing(self) -> None:
        self._stuck_since_ms = self._door.now_ms()
        self._sent_mark = self._taken_bytes()
        self.pace()

    def resume_writing(self) -> None:
        self._stuck_since_ms = -1
        self.pace()

    def connection_lost(self, error: Exception | None) -> None:
        self._depart("peer_left" if error is None else "broken")
        self._stage = _GONE
        self._door.left(self)

    # ------------------------------------------------------------ requests in, answers out

    def _take(self, events: list[Event]) -> None:
        door = self._door
        read = _Read(self._heard_bytes)
        self._bytes_in_flight += read.bytes
        door.took(read.bytes)
        self._heard_bytes = 0
        self._heard_ms = door.now_ms()
        for event in events:
            if type(event) is RequestReceived and self._caller is not None:
                read.unanswered += 1
                door.service.handle(
                    self._caller, event.request, partial(self._answer, read, event.request_id)
                )
            else:
                self._act(event)
            if self._stage >= _LINGERING:
                return
        self._count_off(read)
        self.pace()

    def _act(self, event: Event) -> None:
        """Everything that is rarer than a request."""
        if isinstance(event, HelloReceived):
            self._greet(event)
        elif isinstance(event, RequestRefused):
            self._door.observer.rejections[event.error.code] += 1
            _log.debug("request_refused", event.error.text, code=event.error.code, **self.description)
        elif isinstance(event, CloseReceived):
            self._hang_up("peer_closed")
        elif isinstance(event, Failed):
            self._door.observer.rejections[event.error.code] += 1
            self._complain("connection_failed", event.error)
            self._hang_up("protocol_error")

    def _answer(self, read: _Read, request_id: int, reply: Reply | TqError) -> None:
        self._count_off(read)
        if isinstance(reply, TqError):
            self._door.observer.rejections[reply.code] += 1
        if self._stage == _OPEN:
            self._core.send_reply(request_id, reply)
            self._schedule_flush()
            if not self._is_reading:
                self.pace()

    def push(self, push: Push) -> None:
        if self._stage == _OPEN:
            self._core.send_push(push)
            self._schedule_flush()

    def dismiss(self, error: TqError) -> None:
        self.close(error, "dismissed")

    def _count_off(self, read: _Read) -> None:
        read.unanswered -= 1
        if not read.unanswered and self._stage < _LINGERING:
            self._bytes_in_flight -= read.bytes
            self._door.gave_back(read.bytes)

    def pace(self) -> None:
        """Read the socket or leave it, by what is owed. Once left, half must be answered before it is read again."""
        limits, shift = self._door.limits, 0 if self._is_reading else 1
        is_full = (
            self._bytes_in_flight > limits.bytes_in_flight_max >> shift
            or self._core.owed_replies >= limits.requests_in_flight_max >> shift
            or self._door.is_full
            or self._stuck_since_ms >= 0
            or self._stage == _CHECKING
        )
        if is_full == self._is_reading and self._stage < _LINGERING and not self._transport.is_closing():
            self._is_reading = not is_full
            if is_full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # ------------------------------------------------------------ hello

    def _greet(self, hello: HelloReceived) -> None:
        self._door.spoke(self)
        self._name = hello.name or hello.role
        self._stage = _CHECKING
        self._door.service.authenticate(hello.token, self._welcome, self._host)

    def _welcome(self, verdict: Principal | TqError) -> None:
        if self._stage != _CHECKING or self._core.is_closed:
            return  # it has left, or the same read went on with something that is not allowed
        if isinstance(verdict, TqError):
            self._door.observer.rejections[verdict.code] += 1
            self._complain("hello_refused", verdict)
            self._core.refuse_hello(verdict)
            self._hang_up("hello_refused")
            return
        self._caller = Caller(self, verdict, self._host)
        self._stage, self._since_ms = _OPEN, self._door.now_ms()
        self._core.accept_hello(self._door.node_id)
        self._schedule_flush()
        self.pace()

    # ------------------------------------------------------------ sending

    def _schedule_flush(self) -> None:
        if not self._is_dirty:
            self._is_dirty = True
            self._door.flush_soon(self)

    def _flush(self) -> None:
        self._is_dirty = False
        if self._stage == _GONE or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._door.limits.out_max_bytes:
            self._cut("unread", "the peer does not read and its answers take too much memory")
            return
        data = self._core.data_to_send()
        if data:
            self._written_bytes += len(data)
            self._transport.write(data)

    def flush(self) -> None:
        """Called by the door at the end of a loop turn."""
        if self._is_dirty:
            self._flush()

    def _taken_bytes(self) -> int:
        return self._written_bytes - self._transport.get_write_buffer_size()

    # ------------------------------------------------------------ the end

    @property
    def unanswered_count(self) -> int:
        """Requests whose answer the peer still expects from this connection."""
        return self._core.owed_replies if self._stage == _OPEN else 0

    @property
    def description(self) -> dict[str, object]:
        """Who is at the other end, as log fields."""
        return {"peer": self._peer, "name": self._name}

    def close(self, error: TqError | None, reason: str) -> None:
        """Say goodbye with the reason, then hang up once the peer has read it or `linger_ms` are over."""
        if self._stage < _LINGERING:
            self._core.send_close(error)
            self._hang_up(reason)

    def _hang_up(self, reason: str) -> None:
        """Send what is queued, then end our side and let what still comes in fall on the floor.

        A socket closed with unread bytes in it answers with a reset, which can destroy our last words before the
        peer has read them; hence the lingering. TLS cannot close one side only.
        """
        if self._stage >= _LINGERING:
            return
        self._flush()
        self._depart(reason)
        if self._transport.is_closing():
            return
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _depart(self, reason: str) -> None:
        if self._stage < _LINGERING:
            self._stage, self._since_ms = _LINGERING, self._door.now_ms()
            self._door.gave_back(self._bytes_in_flight)
            self._door.departed(self, reason)
            if self._caller is not None:
                self._door.service.disconnected(self)

    def _cut(self, reason: str, text: str) -> None:
        self._complain("connection_cut", BrokerUnavailable(text))
        self._depart(reason)
        self.abort()

    def expel(self) -> None:
        """Close it when its key is no longer what it was; a peer whose key still holds does not notice."""
        if self._caller is not None and not self._door.service.knows(self._caller):
            self.close(
                AuthenticationFailed("the key was withdrawn or changed; connect again"), "key_withdrawn"
            )

    def give_way(self) -> None:
        """Somebody else needs the place of one that has not even said hello."""
        self._depart("made_room")
        self.abort()

    def abort(self) -> None:
        """End it now; what is not sent is lost."""
        self._transport.abort()

    def sweep(self, now_ms: int) -> None:
        """Called about once a second: has the peer overstepped one of the times it is given?"""
        limits = self._door.limits
        if self._stage == _LINGERING:
            if now_ms - self._since_ms >= limits.linger_ms:
                self.abort()
        elif self._stage <= _CHECKING:
            if now_ms - self._since_ms >= limits.handshake_ms:
                self._give_up(*self._lateness())
        elif self._stuck_since_ms >= 0:
            self._check_progress(now_ms)
        elif self._core.owed_replies or not self._is_reading:
            self._heard_ms = now_ms  # who waits for our answer need not speak, and we do not listen to all
        else:
            allowed_ms = limits.idle_ms + self._heard_bytes * 1000 // limits.receive_bytes_per_s_min
            if now_ms - self._heard_ms >= allowed_ms:
                text = f"no complete frame in {now_ms - self._heard_ms} ms; send a ping when there is nothing to say"
                self._give_up(BrokerUnavailable(text), "idle")

    def _lateness(self) -> tuple[TqError, str]:
        """Why a connection that is not open yet is given up: its hello did not come, or we did not get to its key."""
        if self._stage == _CHECKING:
            text = "the key could not be checked in time; try again"
            return BrokerUnavailable(text, retry_after_ms=BUSY_RETRY_MS), "key_not_checked"
        return ProtocolError(f"no hello within {self._door.limits.handshake_ms} ms"), "hello_time_out"

    def _check_progress(self, now_ms: int) -> None:
        limits, taken = self._door.limits, self._taken_bytes()
        if taken - self._sent_mark >= limits.unread_bytes_min:
            self._stuck_since_ms, self._sent_mark = now_ms, taken
        elif now_ms - self._stuck_since_ms >= limits.unread_ms:
            text = f"{self._transport.get_write_buffer_size()} bytes of answers were not read in {limits.unread_ms} ms"
            self._give_up(BrokerUnavailable(text), "unread")

    def _give_up(self, error: TqError, reason: str) -> None:
        self._complain("connection_closed", error)
        self.close(error, reason)

    def _complain(self, event: str, error: TqError) -> None:
        if self._door.may_complain():
            _log.warning(event, error.text, code=error.code, **self.description)


def _address_of(transport: asyncio.Transport) -> tuple[str, str]:
    """host and host:port of the other end, asked for at once: later it may be gone, and asking an error."""
    try:
        address = transport.get_extra_info("peername")
    except OSError:
        address = None
    return (address[0], f"{address[0]}:{address[1]}") if isinstance(address, tuple) else ("", "unknown")
