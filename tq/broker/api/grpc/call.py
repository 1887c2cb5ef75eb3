"""One gRPC call at this end: what its handler may ask of it, and how it ends.

Rules of the file:
- A call ends once: with an answer, with a status, or cut. Whatever is begun after that raises CallOver or is dropped.
- When the peer leaves, its deadline passes or the connection breaks, the handler is cancelled.
- One write at a time, one read at a time; a read and a write may overlap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import grpc

from tq.broker.api.grpc import core
from tq.broker.api.grpc.large_answers import LARGE_BYTES
from tq.errors import BadRequest, TqError, Unsupported
from tq.logs import get_logger

_log = get_logger("grpc")

EOF = grpc.aio.EOF
"""What `read` returns when the peer has closed its side."""
WRITES_PER_TURN = 32
"""Messages of one stream that may be written in one turn of the loop; then others come before the next."""
DEADLINE_S_MAX = 1e9
"""Beyond is grpc's way of saying that there is none."""


class Prompt(NamedTuple):
    """A unary method without task, future or coroutine: it calls `answer` or `end` of its call, at once or later.

    begin: gets the call and the request's bytes. It must not raise.
    """

    begin: Callable[[Call, bytes], None]


class Asked(NamedTuple):
    """A method of one request, as a coroutine. serve: gets the call and the request's bytes, and answers or writes."""

    serve: Callable[[Call, bytes], Awaitable[None]]


class TwoWay(NamedTuple):
    """A method of many requests, as a coroutine that reads them from the call."""

    serve: Callable[[Call], Awaitable[None]]


Handler: TypeAlias = Prompt | Asked | TwoWay
"""A coroutine that returns has ended its call: with the status OK, if it has not said another."""


class Host(Protocol):
    """What a call needs of its server."""

    def now_s(self) -> float:
        """Wall time."""
        ...

    def refuse(self, call: Call, error: TqError) -> None:
        """End the call with an error's status."""
        ...

    def refuse_answer(self, call: Call, size: int) -> TqError | None:
        """Why an answer of so many bytes may not be sent; None when it may, and then it counts until the call is over."""
        ...

    def look(self) -> None:
        """Take an event that has come already."""
        ...

    def hold(self) -> None:
        """An answer will be given soon: events may lie for a moment."""
        ...

    def let_go(self) -> None:
        """An answer was given."""
        ...

    def over(self, call: Call) -> None:
        """Nothing of the call is left; said once."""
        ...


class CallOver(Exception):
    """The peer is gone, or the status has been sent."""


class Call:
    """The context of one handler. All methods run on the event loop."""

    def __init__(self, accepted: Any, handler: Handler | None, host: Host) -> None:
        """accepted: the core's event. handler: None = there is no such method."""
        self._call = accepted.call
        self._metadata = accepted.invocation_metadata
        self._deadline_s: float = accepted.call_details.deadline
        self._handler = handler
        self._host = host
        self._task: asyncio.Task[None] | None = None
        self._is_asked = False
        self._has_begun_answer = False
        self._is_ended = False
        self._is_closed = False
        self._is_watched = False
        self._is_said = False
        self._writes = 0

    def begin(self) -> None:
        """Serve it; never raises."""
        handler = self._handler
        if not isinstance(handler, Prompt):
            self.watch()
        if handler is None:
            self._host.refuse(self, Unsupported("there is no such method"))
        elif isinstance(handler, TwoWay):
            self._is_asked = True
            self._run(handler.serve, self)
        else:
            core.receive_message(self._call, self._asked)

    @property
    def awaits_request(self) -> bool:
        """Whether nothing has been asked yet."""
        return not (self._is_asked or self._is_ended)

    @property
    def awaits_reader(self) -> bool:
        """Whether all is said, and the peer has not taken it yet."""
        return self._is_ended and not self._is_said

    def watch(self) -> None:
        """Hear of it when the caller leaves.

        To be called now and then: most calls are answered before it is worth an event of its own.
        """
        if not (self._is_watched or self._is_ended):
            self._is_watched = True
            core.receive_close(self._call, self._closed)

    def cut(self) -> None:
        """End it without a status of ours, or what is left of it: a status would wait behind what is not read."""
        if self._call is not None:
            core.cancel(self._call)

    def abandon(self) -> None:
        """The server was told to cut all calls, and waits until nobody holds one of the core's."""
        if not self._is_watched:
            self._is_ended = True
            self._call = None
            self._host.over(self)

    # ------------------------------------------------------------ for handlers

    def invocation_metadata(self) -> core.Metadata:
        return self._metadata or ()

    def peer(self) -> str:
        """As grpc writes it: `ipv4:127.0.0.1:4711`."""
        found: bytes | str = self._call.peer()
        return found.decode() if isinstance(found, bytes) else found

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None when there is none."""
        seconds = self._deadline_s - self._host.now_s()
        return None if seconds > DEADLINE_S_MAX else max(0.0, seconds)

    async def read(self) -> Any:
        """The next message, or EOF."""
        waiter: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def arrived(event: Any) -> None:
            if not waiter.done():
                waiter.set_result(core.message_of(event))

        core.receive_message(self._call, arrived)
        data = await waiter
        return EOF if data is None else data

    async def write(self, data: bytes, *, more_follows: bool = False) -> None:
        """Return when the core has taken it, which is when the peer has room for it. Raises CallOver.

        more_follows: the next message is at hand, and this one may leave together with it.
        """
        if self._is_ended or self._is_closed:
            raise CallOver
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def taken(event: Any) -> None:
            if not waiter.done():
                waiter.set_result(event.success)

        is_first, self._has_begun_answer = not self._has_begun_answer, True
        core.send(self._call, data, taken, is_first=is_first, more_follows=more_follows)
        self._host.look()
        self._writes += 1
        if waiter.done() and self._writes % WRITES_PER_TURN == 0:
            await asyncio.sleep(0)
        if not await waiter:
            raise CallOver

    def answer(self, data: bytes) -> None:
        """The answer of a unary call, and with it its end; nothing when it has ended."""
        if self._is_ended:
            return
        refusal = self._host.refuse_answer(self, len(data)) if len(data) > LARGE_BYTES else None
        if refusal is not None:
            self._host.refuse(self, refusal)
        else:
            self._is_ended = True
            core.send_last(self._call, data, self._said, with_close=self._watches_to_the_end())
            self._host.let_go()

    def end(self, code: grpc.StatusCode, details: str, trailing: core.Metadata = ()) -> None:
        """End the call with this status; nothing when it has ended."""
        if self._is_ended:
            return
        self._is_ended = True
        number: int = code.value[0]
        is_first = not self._has_begun_answer
        core.send_status(
            self._call,
            self._said,
            is_first=is_first,
            with_close=self._watches_to_the_end(),
            code=number,
            details=details,
            trailing=trailing,
        )
        self._host.let_go()

    # ------------------------------------------------------------ one handler

    def _asked(self, event: Any) -> None:
        data = core.message_of(event)
        if self._is_closed or self._is_ended:
            return
        self._is_asked = True
        handler = self._handler
        if data is None:
            self._host.refuse(self, BadRequest("there was no request"))
        elif isinstance(handler, Prompt):
            self._host.hold()
            handler.begin(self, data)
        else:
            assert isinstance(handler, Asked), "the others ask for no single request"
            self._run(handler.serve, self, data)

    def _run(self, serve: Callable[..., Awaitable[None]], *asked: object) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guard(serve, asked))
        # A task that is cancelled before its first step never gets as far as to say that it ends.
        self._task.add_done_callback(lambda _: self._cut())

    async def _guard(self, serve: Callable[..., Awaitable[None]], asked: tuple[object, ...]) -> None:
        try:
            await serve(*asked)
        except CallOver:
            return
        except Exception as error:  # noqa: BLE001  the top of a call; who calls learns no more than that
            _log.error("call_failed", f"a defect behind a gRPC call: {type(error).__name__}", exc_info=error)
            self.end(grpc.StatusCode.INTERNAL, "a defect in the broker; its log says more")
        else:
            self.end(grpc.StatusCode.OK, "")

    # ------------------------------------------------------------ its end

    def _cut(self) -> None:
        """The handler is done and has said nothing of an end."""
        if not self._is_ended:
            self._is_ended = self._is_said = True
            self.cut()
            self._look_if_over()

    def _watches_to_the_end(self) -> bool:
        """Whether the close comes in one event with the answer."""
        if self._is_watched:
            return False
        self._is_closed = True
        return True

    def _said(self, _event: Any) -> None:
        self._is_said = True
        self._look_if_over()

    def _closed(self, event: Any) -> None:
        self._is_closed = True
        if core.was_cut(event) and not self._is_ended:
            if self._task is None:
                self._is_ended = self._is_said = True
                # Whoever still works on an answer may keep us, but not the core's call: a stop waits for those.
                self._call = None
            else:
                self._task.cancel()
        self._look_if_over()

    def _look_if_over(self) -> None:
        if self._is_closed and self._is_said:
            self._host.over(self)
