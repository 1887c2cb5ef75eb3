"""The Work stream: a worker's whole connection. For the backend it is the `Peer`.

Rules of the file:
- Two tasks a stream, one reads and one writes, none per delivery: whatever gathers while a message is being written
  leaves in the next one.
- Parts of a request are begun in order and answered through callbacks. Only `register` is waited for, because what
  comes after it goes by the session it opens.
- A worker is held by three bounds: unanswered requests and their bytes (then its stream is not read), deliveries it
  does not read (then it is cut, by size or by time), and its own capacity.
- However a stream ends, `disconnected` is told once, and the grace of the session begins.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from tq.broker.api.grpc import work_in
from tq.broker.api.grpc.call import EOF, Handler
from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.grpc.outbox import Outbox
from tq.broker.api.grpc.work_parts import Parts
from tq.broker.service import Caller
from tq.errors import BrokerUnavailable, TqError
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Abort, Deliver, Deregister, Drain, Draining, Extend, Push, Registered, Request, Settle

# In use; closed on the worker's side; over, but for the message that is being written.
_OPEN, _ANSWERING, _LEAVING = range(3)

REQUESTS_MAX = 1_000
"""Unanswered requests of one stream at which it is read no further; a worker that settles more batches."""

FIRST_WORD_S = 1.0
"""A stream that is refused waits so long for its first message."""


class Work:
    """Opens and serves the streams."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def handlers(self) -> dict[str, Handler]:
        """method name -> handler"""
        return {"Work": self._calls.two_way(self.serve)}

    async def serve(self, context: Context) -> None:
        stream = WorkStream(self._calls, context)
        try:
            stream.caller = await self._calls.caller(context, stream)
        except TqError:
            await _hear(context)
            raise
        self._calls.hold(stream, stream.caller)
        try:
            await stream.run()
        finally:
            self._calls.release(stream)
            self._calls.service.disconnected(stream)


async def _hear(context: Context) -> None:
    """Let the worker say something before it is refused.

    grpcio's own client takes a write to a stream that has ended for an error of its core, and shows that one.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_WORD_S):
            await context.read()


class WorkStream:
    """One worker."""

    caller: Caller  # set before all else, as soon as it is known who it is

    def __init__(self, calls: Calls, context: Context) -> None:
        self._calls = calls
        self._context = context
        self._outbox = Outbox(calls.limits.out_max_bytes)
        self._ready = asyncio.Event()
        self._has_room = asyncio.Event()
        self._unanswered = 0
        self._unanswered_bytes = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stage = _OPEN

    def push(self, push: Push) -> None:
        if isinstance(push, Deliver):
            if self._outbox.is_full:
                self.end(BrokerUnavailable("the worker does not read, and its tasks take too much memory"))
                return
            self._outbox.deliver(push.tasks)
        elif isinstance(push, Abort):
            self._outbox.abort(push.items)
        elif isinstance(push, Draining):
            self._outbox.stopping(push.retry_after_ms, push.reason)
        elif isinstance(push, Drain):
            self._outbox.drain(push.reason)
        self._ready.set()

    def dismiss(self, error: TqError) -> None:
        self.end(error)

    def end(self, error: TqError) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    async def run(self) -> None:
        """Until the worker closes its side, leaves, or is told to go. Raises what the stream ends with."""
        loop = asyncio.get_running_loop()
        reader, writer = loop.create_task(self._read()), loop.create_task(self._write())
        sides: list[asyncio.Future[None]] = [self._over, reader, writer]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and reader.exception() is None:
                # It has closed its side; what it asked for is still answered.
                self._go_to(_ANSWERING)
                await asyncio.wait([self._over, writer], return_when=asyncio.FIRST_COMPLETED)
            # The status has to wait for the message that is on its way.
            self._go_to(_LEAVING)
            await asyncio.wait([writer])
            for side in (writer, *sides):
                if side.done():
                    side.result()
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    def _go_to(self, stage: int) -> None:
        self._stage = stage
        self._ready.set()

    # ------------------------------------------------------------ reading

    async def _read(self) -> None:
        while (data := await self._context.read()) is not EOF:
            request = parse(pb.WorkRequest, data, self._calls)
            await self._take(request, len(data))
            while self._is_over_limit():
                self._has_room.clear()
                await self._has_room.wait()

    def _is_over_limit(self) -> bool:
        return (
            self._unanswered >= REQUESTS_MAX
            or self._unanswered_bytes > self._calls.limits.bytes_in_flight_max
        )

    async def _take(self, request: pb.WorkRequest, size: int) -> None:
        self._unanswered += 1
        self._unanswered_bytes += size
        parts = Parts(request.request_id, partial(self._answer, size))
        try:
            if request.HasField("register"):
                reply = await self._calls.service.call(self.caller, work_in.register_of(request.register))
                assert isinstance(reply, Registered)
                parts.registered(reply)
            self._begin_parts(request, parts)
        except TqError as error:
            parts.refuse(error)
        finally:
            parts.close()

    def _begin_parts(self, request: pb.WorkRequest, parts: Parts) -> None:
        if request.settlements:
            self._begin_leases(work_in.settle_of(request), parts)
        if request.extensions:
            self._begin_leases(work_in.extend_of(request), parts)
        if request.HasField("capacity"):
            self._begin(work_in.capacity_of(request), parts)
        if request.HasField("heartbeat"):
            self._begin(work_in.heartbeat_of(request.heartbeat), parts)
        if request.deregister:
            self._begin(Deregister(), parts)

    def _begin_leases(self, request: Settle | Extend, parts: Parts) -> None:
        parts.begin()
        self._calls.service.handle(self.caller, request, partial(parts.settled, request))

    def _begin(self, request: Request, parts: Parts) -> None:
        parts.begin()
        self._calls.service.handle(self.caller, request, parts.end)

    def _answer(self, size: int, answer: pb.WorkAnswer | None) -> None:
        self._unanswered -= 1
        self._unanswered_bytes -= size
        self._has_room.set()
        if answer is not None:
            self._outbox.answer(answer)
        self._ready.set()

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        while not self._has_said_all():
            await self._ready.wait()
            self._ready.clear()
            while self._stage != _LEAVING and (data := self._outbox.next_message()) is not None:
                await self._calls.write(self._context, data)

    def _has_said_all(self) -> bool:
        return self._stage == _LEAVING or (self._stage == _ANSWERING and not self._unanswered)
