"""The stream of events: a WebSocket that pushes what happens, filtered as the client asks, resumable by number.

Rules of the file:
- An event is sent as one text message: `{"seq", "type", "at", ...}`. `seq` rises; a client that comes back says
  `?since=SEQ` and gets what came after, as far as it is kept; a message `{"type": "gap"}` says that something is not.
- A client that does not read is dropped with close code 4008 and the number to resume from. It costs the broker the
  feed's capacity in references, no more, and holds nobody up.
- The one thing a client sends is a filter, which replaces the one before and is sent back when it holds. Anything
  else ends the stream with 4000. The address may carry the first filter: `?since=7&queues=mail,bills`.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import urlsafe_b64decode
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from tq import ids
from tq.broker.api.rest.errors import ErrorAnswers, invalid
from tq.broker.api.rest.event_texts import EventTexts, compact
from tq.broker.api.rest.front import refuse_foreign_origin
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.kinds import Name, TaskIdText
from tq.broker.api.rest.schemas import Status
from tq.broker.feed import Feed, FeedEvent, Subscription
from tq.broker.service import Caller
from tq.errors import AuthenticationFailed, BadRequest, TqError
from tq.protocol.limits import INT_MAX
from tq.verbs import Watch

SUBPROTOCOL = "tq.events"
BEARER = "tq.bearer."
"""A browser cannot send an Authorization header with a WebSocket; it may offer `tq.bearer.` + base64url(KEY) beside
`tq.events` instead. That a key never stands in the address is the point: addresses end up in logs."""
EVENTS_AT_ONCE = 100
"""Events sent before the loop gets a turn."""
CHECK_S = 5.0
"""How soon a stream whose key was withdrawn ends."""
BAD_MESSAGE, KEY_WITHDRAWN, TOO_SLOW, RESTARTING = 4000, 4001, 4008, 1012
NAMES_MAX = 100
REASON_BYTES_MAX = 120
"""A close frame holds 125 bytes, two of which are the code."""

EventType = Literal["task_update", "worker_update", "stats"]


class Filter(BaseModel):
    """What a client wants to hear; an empty list is everything. Names narrow task updates, and leave the others alone.

    What no event can have is refused: a stream that is silent for ever would be all there is to see of a typing error.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    types: Annotated[list[EventType], Field(max_length=NAMES_MAX)] = []
    task_ids: Annotated[list[TaskIdText], Field(max_length=NAMES_MAX)] = []
    task_types: Annotated[list[Name], Field(max_length=NAMES_MAX)] = []
    queues: Annotated[list[Name], Field(max_length=NAMES_MAX)] = []
    statuses: Annotated[list[Status], Field(max_length=NAMES_MAX)] = []

    @property
    def leaves_tasks_out(self) -> bool:
        return bool(self.types) and "task_update" not in self.types

    @property
    def only_task(self) -> str | None:
        """The one task it is all about, as canonical UUID text."""
        if self.types != ["task_update"] or len(self.task_ids) != 1:
            return None
        try:
            return ids.to_text(ids.from_text(self.task_ids[0]))
        except BadRequest:
            return None

    def wants(self, event: FeedEvent) -> bool:
        if self.types and event.type not in self.types:
            return False
        if event.type != "task_update":
            return True
        fields = event.fields
        return (
            (not self.task_ids or fields["task_id"] in self.task_ids)
            and (not self.task_types or fields["task_type"] in self.task_types)
            and (not self.queues or fields["queue"] in self.queues)
            and (not self.statuses or fields["status"] in self.statuses)
        )


class Stream:
    """One client's stream. Two things run beside each other: what is sent, and what the client says."""

    def __init__(
        self, socket: WebSocket, feed: Feed, texts: EventTexts, wishes: Filter, since: int | None
    ) -> None:
        self._socket = socket
        self._texts = texts
        self._filter = wishes
        self._ready = asyncio.Event()
        self.lagged = asyncio.Event()
        self.last_seq = feed.last_seq if since is None else since
        self._feed = feed
        self._subscription = self._subscribe(since)

    def _subscribe(self, since: int | None = None) -> Subscription:
        """As narrow as the filter allows: what nobody asked for is not made."""
        narrow: dict[str, Any] = {}
        if self._filter.leaves_tasks_out:
            narrow = {"leaves_tasks_out": True}
        elif self._filter.only_task is not None:
            narrow = {"task_id": self._filter.only_task}
        return self._feed.subscribe(self._wants, since=since, on_ready=self._on_ready, **narrow)

    def _replace_filter(self, wishes: Filter) -> None:
        """What was heard under the old one and is not sent yet is looked at under the new one."""
        before = self._subscription
        self._filter = wishes
        self._subscription = self._subscribe()
        self._subscription.take_over(before)
        before.close()

    async def send(self) -> None:
        """Send events as they come, for ever."""
        if self._subscription.missed:
            await self._socket.send_text(compact({"type": "gap", "since": self.last_seq}))
        while True:
            events = self._subscription.take(EVENTS_AT_ONCE)
            if not events:
                self._ready.clear()
                await self._ready.wait()
                continue
            for event in events:
                if self._filter.wants(event):
                    await self._socket.send_text(self._texts.of(event))
                self.last_seq = event.seq
            await asyncio.sleep(0)

    async def listen(self) -> str:
        """Take filters, each answered by itself; at the first message that is none, return what is wrong with it.

        Raises WebSocketDisconnect when the client has gone.
        """
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            try:
                self._replace_filter(Filter.model_validate_json(message.get("text") or ""))
            except ValidationError as error:
                return invalid(_faults(error)).text
            await self._socket.send_text(compact({"type": "filter", **self._filter.model_dump()}))

    def close(self) -> None:
        self._subscription.close()

    def _wants(self, event: FeedEvent) -> bool:
        return self._filter.wants(event)

    def _on_ready(self) -> None:
        if self._subscription.is_lagged:
            self.lagged.set()
        self._ready.set()


def add_events(
    router: APIRouter, gate: Gate, feed: Feed, answers: ErrorAnswers, stopping: asyncio.Event, check_s: float
) -> None:
    """check_s: how often it is asked whether a stream's key still holds."""
    texts = EventTexts()

    @router.websocket("/events")
    async def events(socket: WebSocket) -> None:
        try:
            refuse_foreign_origin(socket.headers)
            caller = await gate.permit(socket, Watch, token=_offered_key(socket))
            wishes, since = _asked_for(socket)
        except TqError as error:
            await socket.send_denial_response(answers.response(error))
            return
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        stream = Stream(socket, feed, texts, wishes, since)
        try:
            code, reason = await _run(stream, gate, caller, stopping, check_s)
            await socket.close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
        except WebSocketDisconnect:
            return
        finally:
            stream.close()


async def _run(
    stream: Stream, gate: Gate, caller: Caller, stopping: asyncio.Event, check_s: float
) -> tuple[int, str]:
    """Run a stream until it must end; why. Raises WebSocketDisconnect when the client has gone."""
    sending = asyncio.ensure_future(stream.send())
    listening = asyncio.ensure_future(stream.listen())
    lagging = asyncio.ensure_future(stream.lagged.wait())
    ending = asyncio.ensure_future(stopping.wait())
    tasks: set[asyncio.Future[Any]] = {sending, listening, lagging, ending}
    try:
        while True:
            done, _ = await asyncio.wait(tasks, timeout=check_s, return_when=asyncio.FIRST_COMPLETED)
            if ending in done:
                return RESTARTING, "the broker is stopping; connect again"
            if lagging in done:
                return TOO_SLOW, f"too slow: events were dropped; connect again with since={stream.last_seq}"
            if listening in done:
                return BAD_MESSAGE, listening.result()
            if sending in done:
                sending.result()
            if not gate.knows(caller):
                return KEY_WITHDRAWN, "the key was withdrawn"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _asked_for(socket: WebSocket) -> tuple[Filter, int | None]:
    """The filter and the number to go on from, from the address. Raises BadRequest."""
    wishes: dict[str, list[str]] = {}
    since: int | None = None
    for name, value in socket.query_params.multi_items():
        if name == "since":
            if since is not None:
                raise BadRequest("since: is given more than once")
            if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= INT_MAX):
                raise BadRequest("since: should be the seq of an event")
            since = int(value)
        else:
            wishes.setdefault(name, []).extend(filter(None, value.split(",")))
    try:
        return Filter.model_validate(wishes), since
    except ValidationError as error:
        raise invalid(_faults(error)) from None


def _offered_key(socket: WebSocket) -> str | None:
    """The key among the offered subprotocols; None = look at the Authorization header. Raises AuthenticationFailed."""
    offered = [name for name in socket.scope["subprotocols"] if name.startswith(BEARER)]
    if not offered:
        return None
    text = offered[0].removeprefix(BEARER)
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        raise AuthenticationFailed(f"the subprotocol {BEARER}... is not base64url of a key") from None


def _faults(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_context=False, include_input=False))
