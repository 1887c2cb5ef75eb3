"""One connection to another node, in tq's own protocol, over a visit that both sides have proved themselves for.

Everything happens on the loop; what is asked in one turn leaves in one write. Every request is answered exactly once:
with the node's reply, or, when the link ends first, with what that means for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from tq.broker.backend import Answer
from tq.errors import BrokerUnavailable, OutcomeUnknown, TqError
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Event, Failed, PushReceived, ReplyReceived, Welcomed
from tq.verbs import Ping, Push, Reply, Request
from tq.version import VERSION

BEAT_SECONDS = 1.0
"""How often a silent link is asked whether anybody is there."""
SILENT_BEATS_MAX = 3
"""So many without a word end the link."""
UNSENT_MAX = 10_000
"""Requests that wait for the connection to be made."""


class PeerLink(asyncio.Protocol):
    def __init__(
        self,
        name: str,
        peer: str,
        *,
        on_push: Callable[[Push], None],
        on_ended: Callable[[PeerLink], None],
    ) -> None:
        """name: this node's. on_ended: called once, after everything that waited was answered."""
        self.peer = peer
        self._name = name
        self._on_push = on_push
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._core = Connection(Role.PEER)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[tuple[Request, Answer]] = []
        self._awaited: dict[int, Answer] = {}
        self._beat_timer: asyncio.TimerHandle | None = None
        self._silent_beats = 0
        self._flush_due = False
        self._is_over = False

    def request(self, request: Request, answer: Answer) -> None:
        """Ask. answer: the reply or error of the node; BrokerUnavailable when it was not sent, OutcomeUnknown when it
        was and no answer came back."""
        if self._is_over:
            answer(self._gone())
        elif self._core.is_open:
            self._send(request, answer)
        elif len(self._unsent) >= UNSENT_MAX:
            answer(BrokerUnavailable(f"too many requests wait for the connection to {self.peer}"))
        else:
            self._unsent.append((request, answer))

    def close(self) -> None:
        """Hang up. What waits is answered now. Calling it twice is allowed."""
        self.fail(self._gone())

    def fail(self, error: TqError) -> None:
        """The link is over, for this reason."""
        if self._is_over:
            return
        self._is_over = True
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        unsent, self._unsent = self._unsent, []
        awaited, self._awaited = self._awaited, {}
        for _, answer in unsent:
            answer(BrokerUnavailable(error.text))
        for answer in awaited.values():
            answer(OutcomeUnknown(f"the connection to {self.peer} was lost before it answered: {error.text}"))
        self._on_ended(self)

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._is_over:
            self._transport.abort()
            return
        self._core.start_hello("client", name=self._name, software=f"tq {VERSION}")
        self._flush()
        self._beat_timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(self._gone())

    def data_received(self, data: bytes) -> None:
        self._silent_beats = 0
        for event in self._core.receive(data):
            self._take(event)
            if self._is_over:
                return
        self._flush()

    # ------------------------------------------------------------ inside

    def _take(self, event: Event) -> None:
        if isinstance(event, ReplyReceived):
            self._awaited.pop(event.request_id)(event.reply)
        elif isinstance(event, PushReceived):
            self._on_push(event.push)
        elif isinstance(event, Welcomed):
            unsent, self._unsent = self._unsent, []
            for request, answer in unsent:
                self._send(request, answer)
        elif isinstance(event, CloseReceived):
            self.fail(event.error or self._gone())
        elif isinstance(event, Failed):
            self.fail(event.error)

    def _send(self, request: Request, answer: Answer) -> None:
        try:
            request_id = self._core.send_request(request)
        except TqError as error:
            answer(error)
            return
        self._awaited[request_id] = answer
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._is_over:
            return
        data = self._core.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def _beat(self) -> None:
        self._silent_beats += 1
        if self._silent_beats > SILENT_BEATS_MAX:
            self.fail(
                BrokerUnavailable(f"{self.peer} has said nothing for {SILENT_BEATS_MAX * BEAT_SECONDS:g} s")
            )
            return
        self._beat_timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        if self._core.is_open:
            self._send(Ping(), _heard)

    def _gone(self) -> BrokerUnavailable:
        return BrokerUnavailable(f"the connection to {self.peer} is gone")


def _heard(reply: Reply | TqError) -> None:
    """That there was an answer is all that counts."""
