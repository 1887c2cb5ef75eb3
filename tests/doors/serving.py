"""A TCP door on a free port of this machine, and a peer that dials it with the protocol's own other half."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import uvloop

from tests.doors.double import MemoryBackend
from tq.broker.access import Access, OpenAccess
from tq.broker.admission import Admission, Limits
from tq.broker.api.tcp import TcpDoor
from tq.broker.observe import Observer
from tq.broker.service import Service
from tq.clock import SystemClock
from tq.errors import TqError
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Event, PushReceived, ReplyReceived, Welcomed
from tq.verbs import Push, Reply, Request

WAIT_S = 40.0
"""Far longer than anything here takes, on any machine; a test that reaches it has failed."""

Found = TypeVar("Found", bound=Event)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run one scenario on the loop the broker uses, for at most two waits."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * WAIT_S):
            await scenario

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


@dataclass
class Serving:
    """What a scenario may look at."""

    door: TcpDoor
    backend: MemoryBackend
    service: Service
    observer: Observer
    host: str
    port: int
    dialled: list[asyncio.StreamWriter]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until the condition holds. Raises TimeoutError after WAIT_S."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  conditions of the door have no event of their own
                await asyncio.sleep(0.002)

    async def until_held(self, count: int) -> None:
        """Until the backend holds back so many answers."""
        await self.until(lambda: self.backend.held_count >= count)

    async def stranger(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has said nothing yet."""
        return await self._connect(None)

    async def dial(self, role: str = "client", token: str = "", tls: ssl.SSLContext | None = None) -> Dialler:
        """A peer whose hello was accepted."""
        peer = Dialler(*await self._connect(tls))
        peer.core.start_hello(role, token, "test")
        peer.flush()
        await peer.next(Welcomed)
        return peer

    async def _connect(self, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=tls)
        self.dialled.append(writer)
        return reader, writer


@asynccontextmanager
async def serving(
    limits: Limits | None = None, access: Access | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Serving]:
    """A door over a MemoryBackend, closed at the end with everything that is still connected to it.

    Fails when anything raised where nothing may: a peer must not be able to cause that.
    """
    backend, observer = MemoryBackend(), Observer()
    admission = Admission(limits or Limits())
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    service = Service(backend, access or OpenAccess(), admission, observer, defects.append)
    door = TcpDoor(service, admission, observer, SystemClock(), node_id="node1")
    host, port = await door.open("127.0.0.1", 0, tls)
    here = Serving(door, backend, service, observer, host, port, [])
    try:
        yield here
    finally:
        for writer in here.dialled:
            writer.transport.abort()
        backend.release()
        await door.cut()
    assert defects == []


class Dialler:
    """One peer: the protocol core in the role of the peer, over plain streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.core = Connection(Role.PEER)
        self.reader = reader
        self.writer = writer
        self.events: list[Event] = []
        self.ended = False

    def flush(self) -> None:
        """Hand what the core wants sent to the socket."""
        self.writer.write(self.core.data_to_send())

    def send(self, request: Request) -> int:
        """Send one request and do not wait for the answer. Returns its id."""
        request_id = self.core.send_request(request)
        self.flush()
        return request_id

    async def ask(self, request: Request) -> Reply | TqError:
        """Send one request and wait for its answer, error or not."""
        request_id = self.send(request)
        return await self.reply_to(request_id)

    async def reply_to(self, request_id: int) -> Reply | TqError:
        """The answer to this request; other events stay in `events`."""
        while True:
            for event in self.events:
                if isinstance(event, ReplyReceived) and event.request_id == request_id:
                    self.events.remove(event)
                    return event.reply
            await self._read()

    async def next(self, kind: type[Found]) -> Found:
        """The next event of this kind; others stay in `events`."""
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    self.events.remove(event)
                    return event
            await self._read()

    async def next_push(self) -> Push:
        return (await self.next(PushReceived)).push

    async def farewell(self) -> TqError | None:
        """The reason the broker gave for ending the connection; returns once the socket is at its end."""
        closed = await self.next(CloseReceived)
        await self.read_to_end()
        return closed.error

    async def read_to_end(self) -> None:
        while not self.ended:
            await self._read()

    def stop_reading(self) -> None:
        """Leave everything from now on in the kernel's buffers."""
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    async def hang_up(self) -> None:
        """Close the socket without a word."""
        self.writer.close()
        await self.writer.wait_closed()

    async def _read(self) -> None:
        if self.ended:
            raise ConnectionError(f"the connection ended; unread events: {self.events}")
        async with asyncio.timeout(WAIT_S):
            data = await self.reader.read(256 * 1024)
        if data:
            self.events += self.core.receive(data)
        else:
            self.ended = True
