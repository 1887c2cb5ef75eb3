"""A gRPC server on the event loop: ports, services, calls and a stop, over grpcio's C core."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc

from tq.broker.api.grpc import core
from tq.broker.api.grpc.call import Call, Handler, Prompt
from tq.broker.api.grpc.events import Events
from tq.errors import RateLimited, TqError

TOO_MANY_RETRY_MS = 1_000
ACCEPTING = 128
"""Calls that the core may hand over before the loop has looked again; more wait in the core."""


class Server:
    """Made, then `add_...`, `listen`, `start`, `stop`; all on the event loop."""

    def __init__(
        self,
        events: Events,
        options: Sequence[tuple[str, int]],
        *,
        calls_max: int,
        now_s: Callable[[], float],
        refuse: Callable[[Call, TqError], None],
    ) -> None:
        """calls_max: calls at a time; one more is answered RATE_LIMITED. now_s: wall time.

        refuse: ends a call with an error's status.
        """
        self._queue = events.queue
        self.look = events.look
        self._server = core.server(options, self._queue)
        self._calls_max = calls_max
        self.now_s = now_s
        self.refuse = refuse
        self._handlers: dict[bytes, Handler] = {}
        self._calls: set[Call] = set()
        self._is_stopping = False
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """handlers: method name -> handler. The name is grpc's: generated code calls it."""
        for name, handler in handlers.items():
            if not _is_left_out(handler):
                self._handlers[f"/{service}/{name}".encode()] = handler

    def add_generic_rpc_handlers(self, handlers: Iterable[object]) -> None:
        """Generated code says everything twice; the other way is enough."""

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """The port taken; before `start`. Raises RuntimeError."""
        return core.listen(self._server, address, credentials)

    def start(self) -> None:
        self._server.start()
        for _ in range(ACCEPTING):
            self._accept()

    @property
    def calls_count(self) -> int:
        """Calls under way; those that are refused at once are not counted."""
        return len(self._calls)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those under way have so long, then they are cut. Calling it twice is allowed."""
        if not self._is_stopping:
            self._is_stopping = True
            self._server.shutdown(self._queue, self._shut_down)
        try:
            async with asyncio.timeout(grace_s):
                await asyncio.shield(self._stopped)
        except TimeoutError:
            self._server.cancel_all_calls()
            for call in tuple(self._calls):
                call.abandon()
            await asyncio.shield(self._stopped)

    def sweep(self) -> None:
        """To be called about once a second: callers that have left while their call goes on are noticed by the next."""
        for call in tuple(self._calls):
            call.watch()

    def over(self, call: Call) -> None:
        self._calls.discard(call)

    def _accept(self) -> None:
        self._server.request_call(self._queue, self._queue, self._accepted)

    def _accepted(self, event: Any) -> None:
        if self._is_stopping:
            # The core sends back what it was asked for and has not got; a call that came just now is let go of.
            return
        self._accept()
        if not event.success:
            return
        call = Call(event, self._handlers.get(event.call_details.method), self)
        if len(self._calls) >= self._calls_max:
            text = f"{self._calls_max} calls are under way, the limit; wait for one, or batch"
            self.refuse(call, RateLimited(text, retry_after_ms=TOO_MANY_RETRY_MS))
        else:
            self._calls.add(call)
            call.begin()

    def _shut_down(self, _event: Any) -> None:
        self._server.destroy()
        if not self._stopped.done():
            self._stopped.set_result(None)


def _is_left_out(handler: Handler) -> bool:
    """Generated code has something to call for every method of a service, those too that nobody has written."""
    if isinstance(handler, Prompt):
        return False
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_stream
    return not (inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour))
