"""A gRPC server on the event loop: ports, services, calls and a stop, over grpcio's C core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from tq.broker.api.grpc import core
from tq.broker.api.grpc.call import Call, Handler
from tq.broker.api.grpc.calls import OVERLOAD_RETRY_MS, Calls
from tq.broker.api.grpc.events import Events
from tq.broker.api.grpc.large_answers import LargeAnswers
from tq.errors import BadRequest, BrokerUnavailable, RateLimited

ACCEPTING = 128
"""Calls that the core may hand over before the loop has looked again; more wait in the core."""

OWED_MAX = ACCEPTING // 2
"""Calls that are taken before the core is asked for more, while none of them ends."""


class Server:
    """Made, then `serve`, `listen`, `start`, `stop`; all on the event loop."""

    def __init__(
        self,
        events: Events,
        options: Sequence[tuple[str, int]],
        calls: Calls,
        *,
        calls_max: int,
        now_s: Callable[[], float],
    ) -> None:
        """calls_max: calls at a time; one more is answered RATE_LIMITED. now_s: wall time."""
        self._queue = events.queue
        self.look = events.look
        self.hold = events.hold
        self.let_go = events.let_go
        self._server = core.server(options, self._queue)
        self._shared = calls
        self.refuse = calls.refuse
        self._calls_max = calls_max
        self.now_s = now_s
        self._handlers: dict[bytes, Handler] = {}
        self._calls: dict[Call, None] = {}
        """in the order they came"""
        self._answers = LargeAnswers(calls.limits.out_max_bytes, take=calls.take, give_back=calls.give_back)
        self.refuse_answer = self._answers.add
        self._standing: dict[Call, tuple[bool, int]] = {}
        """Those that wait for their peer: whether it has to read, and since when; as of the last sweep."""
        self._is_all_asked = False
        """Whether none was found that waits for its request since the last sweep."""
        self._owed = 0
        """Calls that the core handed over and was not asked for another yet."""
        self._is_stopping = False
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def serve(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """handlers: method name -> handler."""
        for name, handler in handlers.items():
            self._handlers[f"/{service}/{name}".encode()] = handler

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """The port taken; before `start`. Raises RuntimeError."""
        return core.listen(self._server, address, credentials)

    def start(self) -> None:
        self._server.start()
        self._owed = ACCEPTING
        self._accept_owed()

    @property
    def calls_count(self) -> int:
        """Calls under way; those that are refused at once are not counted."""
        return len(self._calls)

    @property
    def unread_bytes(self) -> int:
        """Of large answers that their callers have not read yet."""
        return self._answers.bytes_total

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

    def over(self, call: Call) -> None:
        self._calls.pop(call, None)
        self._answers.drop(call)
        self._accept_owed()

    # ------------------------------------------------------------ those who keep us waiting

    def sweep(self, now_ms: int) -> None:
        """To be called about once a second: end calls whose peers neither ask nor read, and notice those who left.

        now_ms: by a monotonic clock.
        """
        self._is_all_asked = False
        standing: dict[Call, tuple[bool, int]] = {}
        for call in tuple(self._calls):
            call.watch()
            if call.awaits_request or call.awaits_reader:
                found = call.awaits_reader, now_ms
                known = self._standing.get(call, found)
                standing[call] = known if known[0] == found[0] else found
        self._standing = standing
        for call, (has_to_read, since_ms) in standing.items():
            self._end_if_due(call, has_to_read, now_ms - since_ms)

    def _end_if_due(self, call: Call, has_to_read: bool, waited_ms: int) -> None:
        limits = self._shared.limits
        if has_to_read and waited_ms >= limits.unread_ms:
            self._shared.note_unread(call, f"an answer was not read in {limits.unread_ms / 1000:g} s")
            call.cut()
        elif not has_to_read and waited_ms >= limits.idle_ms:
            self.refuse(call, BadRequest(f"the request did not come in {limits.idle_ms / 1000:g} s"))

    def _make_room(self) -> bool:
        """Let the call give way that has waited longest for its request, if there is one."""
        if self._is_all_asked:
            return False
        idle = next((call for call in self._calls if call.awaits_request), None)
        if idle is None:
            self._is_all_asked = True
            return False
        self.refuse(idle, self._too_many())
        return True

    # ------------------------------------------------------------ those who come

    def _accept_owed(self) -> None:
        """Ask the core for as many calls as it has handed over: when one has ended, and so not while it is served."""
        if self._is_stopping:
            return
        for _ in range(self._owed):
            self._server.request_call(self._queue, self._queue, self._accepted)
        self._owed = 0

    def _accepted(self, event: Any) -> None:
        self._owed += 1
        if self._owed >= OWED_MAX:
            self._accept_owed()
        if not event.success:
            # The core sends back what it was asked for and has not got.
            return
        call = Call(event, self._handlers.get(event.call_details.method), self)
        if self._is_stopping:
            self.refuse(call, BrokerUnavailable("the broker stopped"))
        elif len(self._calls) >= self._calls_max and not self._make_room():
            self.refuse(call, self._too_many())
        else:
            self._calls[call] = None
            call.begin()

    def _too_many(self) -> RateLimited:
        text = f"{self._calls_max} calls are under way, the limit; wait for one, or batch"
        return RateLimited(text, retry_after_ms=OVERLOAD_RETRY_MS)

    def _shut_down(self, _event: Any) -> None:
        self._server.destroy()
        if not self._stopped.done():
            self._stopped.set_result(None)
