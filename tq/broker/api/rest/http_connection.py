"""One HTTP/1.1 connection: uvicorn's, on h11, held to limits that uvicorn leaves to a proxy in front of it.

Rules of the file:
- Limits are enforced by the door's sweep, which looks at all connections in turn: a request pays nothing for them.
- What phase a connection is in is read off h11 when it is looked at. A phase that lasts too long ends it: with an
  error while there is still a response to give, else without a word.
- Nothing may escape a timer's callback: the broker's loop takes that for a defect and stops.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from tq.broker.api.rest.errors import HttpFault, request_timeout
from tq.broker.api.rest.lean import LeanCycle, PlainRequest, plain_request
from tq.errors import BadRequest, TqError

if TYPE_CHECKING:
    import asyncio

    from tq.broker.admission import Limits
    from tq.broker.api.rest.door import RestDoor


HEAD_BYTES_MAX = 16 * 1024
"""Request line, headers and the empty line. Room for a signed token."""
_HEAD_END = re.compile(rb"\n\r?\n")
"""As h11 takes it; empty lines before a request are nothing to it."""
_PROBE = re.compile(rb"(?:GET|HEAD) /(?:livez|readyz|health|api/v1/health) ")
ASGI = {"version": "3.0", "spec_version": "2.3"}


class Phase(Enum):
    """What a connection is about."""

    FRESH = auto()
    """Nothing of its first request has come."""
    IDLE = auto()
    """Between requests; uvicorn's keep-alive timer runs."""
    HEAD = auto()
    """Part of a request's head has come."""
    BODY = auto()
    """The body is coming, and is wanted."""
    UNWANTED = auto()
    """The request was answered before its body had come: what comes is thrown away."""
    ANSWERING = auto()
    """The broker works on it."""
    REFUSED = auto()
    """Told to go."""


class HttpConnection(H11Protocol):
    """Counted, timed, and with errors in our shape."""

    def __init__(self, door: RestDoor) -> None:
        super().__init__(door.config, door.state, {})
        self._door = door
        self._is_refused = False
        self.refusal: TqError | None = None  # what it is told once it has said that it is no probe
        self._is_last = False
        self._marked: tuple[Phase, object] = (Phase.FRESH, None)
        self._marked_ms = door.now_ms()
        self._heard_bytes = 0
        self._early = b""
        self._begun = bytearray()  # a plain request whose body is still coming, and
        self._begun_whole = 0  # how long it will be
        self._stuck = Stuck()

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        limits = self._door.limits
        transport.set_write_buffer_limits(limits.out_high_bytes, limits.out_low_bytes)
        self.refusal = self._door.admit(self)
        if self.refusal is not None and self._door.is_flooded:
            self._is_refused = True
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self.refusal is not None and not self._is_last:
            if not _PROBE.match(data):
                self._say(self.refusal)
                return
            # A full broker is not a dead one: probes are answered, one for each connection.
            self._is_last = True
        self._heard_bytes += len(data)
        if isinstance(self.cycle, LeanCycle) and not self.cycle.response_complete:
            # A client that does not wait for its answer: what it says next is looked at after that.
            self._early += data
            self.flow.pause_reading()
            return
        if self._begun:
            self._begun += data
            if len(self._begun) < self._begun_whole:
                return
            data, self._begun = bytes(self._begun), bytearray()
        conn = self.conn
        if conn.their_state is h11.IDLE and conn.our_state is h11.IDLE and not conn.trailing_data[0]:
            request = plain_request(data)
            if isinstance(request, PlainRequest):
                self._serve(request)
                return
            if request is not None:
                self._unset_keepalive_if_required()
                self._begun, self._begun_whole = bytearray(data), request.bytes
                return
        super().data_received(data)
        if self.phase is Phase.ANSWERING:
            self._door.asks(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_last:
            self.transport.close()
        elif self.phase in (Phase.IDLE, Phase.HEAD):
            self._door.waits(self)

    @property
    def is_sending(self) -> bool:
        """A body is coming, and not slower than it has to."""
        took_ms = self._door.now_ms() - self._marked_ms
        pace = self._door.limits.receive_bytes_per_s_min
        return self.phase is Phase.BODY and self._heard_bytes * 1000 >= took_ms * pace

    def give_way(self) -> None:
        """Somebody else needs the place. Nothing was asked, so nothing is owed."""
        self._is_refused = True
        self._door.asks(self)
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._door.left(self)

    # ------------------------------------------------------------ the usual request

    def _serve(self, request: PlainRequest) -> None:
        """Do what uvicorn does with a request that h11 has read."""
        self._door.asks(self)
        self._unset_keepalive_if_required()
        path, _, query = request.target.partition(b"?")
        text = path.decode("ascii")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": request.method,
            "root_path": "",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": request.headers,
            "state": {},
        }
        default_headers = self.server_state.default_headers
        cycle = LeanCycle(scope, request.body, self.transport, self.flow, default_headers, self._answered)
        cycle.keep_alive = not self._is_last
        self.cycle = cast("RequestResponseCycle", cycle)
        task = self.loop.create_task(cycle.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _answered(self) -> None:
        self.on_response_complete()
        if self._early and not self.transport.is_closing():
            early, self._early = self._early, b""
            self.data_received(early)

    def handle_events(self) -> None:
        """Called by uvicorn when bytes have come, and when the next request may be read. h11 measures only heads that
        are not whole yet, so one that came in one piece could be as large as a read of the socket."""
        if self.conn.their_state is h11.IDLE:
            waiting = self.conn.trailing_data[0]
            end = _HEAD_END.search(waiting)
            if (end.end() if end else len(waiting)) > HEAD_BYTES_MAX:
                self.send_400_response("")
                return
        super().handle_events()

    # ------------------------------------------------------------ what uvicorn decides, decided otherwise

    def send_400_response(self, msg: str) -> None:
        """The bytes were no HTTP. Bytes after an answer that has begun get none: they would be taken for its body."""
        if self.conn.our_state in (h11.SEND_BODY, h11.CLOSED):
            self.transport.close()
            return
        text = f"this is not HTTP/1.1, or the head of the request is larger than {HEAD_BYTES_MAX} bytes"
        self._say(BadRequest(text))

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def shutdown(self) -> None:
        """The broker stops: end at once, or after the answer that is under way."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that is not wanted is ignored, as HTTP has it; uvicorn would also log it."""

    # ------------------------------------------------------------ looked at by the door's sweep

    def sweep(self, now_ms: int) -> None:
        """End the connection when its phase has lasted too long, or its peer takes no answers."""
        if self._stuck.is_over(self.transport, self._door.limits, now_ms):
            self.transport.abort()
            return
        mark = (self.phase, self.cycle)
        if mark != self._marked:
            self._marked, self._marked_ms, self._heard_bytes = mark, now_ms, 0
            return
        if now_ms - self._marked_ms > self._time_ms(mark[0]):
            self._overstayed(mark[0])

    @property
    def phase(self) -> Phase:
        if self._is_refused:
            return Phase.REFUSED
        if isinstance(self.cycle, LeanCycle) and not self.cycle.response_complete:
            return Phase.ANSWERING
        if self._begun:
            return Phase.BODY
        theirs, ours = self.conn.their_state, self.conn.our_state
        if theirs is h11.SEND_BODY:
            return Phase.UNWANTED if ours in (h11.DONE, h11.MUST_CLOSE) else Phase.BODY
        if theirs is h11.IDLE:
            if self.conn.trailing_data[0]:
                return Phase.HEAD
            return Phase.FRESH if self.cycle is None else Phase.IDLE
        return Phase.ANSWERING

    def _time_ms(self, phase: Phase) -> float:
        limits = self._door.limits
        if phase in (Phase.FRESH, Phase.HEAD):
            return limits.handshake_ms
        if phase is Phase.BODY:
            return limits.handshake_ms + self._heard_bytes * 1000 / limits.receive_bytes_per_s_min
        if phase in (Phase.UNWANTED, Phase.REFUSED):
            return limits.linger_ms
        return float("inf")

    def _overstayed(self, phase: Phase) -> None:
        cycle = self.cycle
        may_answer = cycle is None or cycle.response_complete or not cycle.response_started
        if phase in (Phase.HEAD, Phase.BODY) and may_answer:
            self._say(request_timeout("the request did not arrive in time"))
        elif phase is Phase.FRESH:
            self.transport.close()
        else:
            self.transport.abort()

    def _say(self, error: TqError | HttpFault) -> None:
        """Our last words, after which nothing is read. The peer hangs up, or is cut by the sweep."""
        self._is_refused = True
        self._door.asks(self)
        self.transport.write(self._door.answers.raw(error))
        if self.transport.can_write_eof():
            # Not close(): with unread bytes in the kernel that would reset the connection, answer and all.
            self.transport.write_eof()
        else:
            self.transport.close()


class Stuck:
    """Whether a peer takes what it is sent: looked at from sweep to sweep."""

    def __init__(self) -> None:
        self._since_ms = -1
        self._left_bytes = 0

    def is_over(self, transport: asyncio.Transport, limits: Limits, now_ms: int) -> bool:
        """True when the peer has had bytes waiting for it for `unread_ms` and took hardly any."""
        waiting = transport.get_write_buffer_size()
        if not waiting:
            self._since_ms = -1
        elif self._since_ms < 0 or self._left_bytes - waiting >= limits.unread_bytes_min:
            self._since_ms, self._left_bytes = now_ms, waiting
        else:
            self._left_bytes = max(self._left_bytes, waiting)
            return now_ms - self._since_ms > limits.unread_ms
        return False
