"""A broker of a hundred lines: the real protocol core, a list of tasks, and switches for what a test wants to go wrong.

It keeps credit as the real one does (capacity minus leased), records every request, and runs on the test's own loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tq import ids
from tq.errors import TqError
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Failed, HelloReceived, RequestReceived
from tq.verbs import (
    SETTLED_LEASE_LOST,
    SETTLED_OK,
    Abort,
    Deliver,
    Delivery,
    Deregister,
    Done,
    Extend,
    Heartbeat,
    Register,
    Registered,
    Reply,
    Request,
    SetCapacity,
    Settle,
    Settled,
    SettleItem,
)

WAIT_S = 50.0


class BrokerDouble:
    """settle_gate: while it is clear, Settle frames get no answer. lost: keys whose settles are answered lease lost.
    refuse: a hook that may give an error for a request instead of its reply."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.settled: dict[tuple[bytes, int], SettleItem] = {}
        self.settle_frames: list[Settle] = []
        self.leased: dict[tuple[bytes, int], Delivery] = {}
        self.lost: set[tuple[bytes, int]] = set()
        self.settle_gate = asyncio.Event()
        self.settle_gate.set()
        self.refuse: Callable[[Request], TqError | None] = lambda _: None
        self.peers: list[_Peer] = []
        self.registrations = 0
        self._capacity = 0
        self._waiting: deque[Delivery] = deque()
        self._token = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    async def start(self, port: int = 0) -> str:
        """Listen; returns host:port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Peer(self), "127.0.0.1", port)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def stop(self) -> None:
        self.hang_up()
        if self._server is not None:
            self._server.close()

    def hang_up(self) -> None:
        """Cut every connection, without a word."""
        for peer in list(self.peers):
            peer.transport.abort()

    def submit(
        self, task_type: str, payload: bytes = b"", *, timeout_ms: int = 60_000, **fields: object
    ) -> tuple[bytes, int]:
        """Queue one task; returns the key its lease will have."""
        self._token += 1
        task_id = ids.new_id()
        values = {
            "attempt": 1,
            "queue": "default",
            "priority": 150,
            "created_ms": 1,
            "max_retries": 3,
        } | fields
        delivery = Delivery(task_id, self._token, task_type, payload, timeout_ms=timeout_ms, **values)  # type: ignore[arg-type]
        self._waiting.append(delivery)
        self.hand_out()
        return task_id, self._token

    def abort(self, key: tuple[bytes, int], reason: str = "by request") -> None:
        for peer in self.peers:
            peer.push(Abort(((*key, reason),)))

    def hand_out(self) -> None:
        peer = next((peer for peer in self.peers if peer.is_registered), None)
        batch = []
        while peer and self._waiting and len(self.leased) < self._capacity:
            delivery = self._waiting.popleft()
            self.leased[delivery.task_id, delivery.token] = delivery
            batch.append(delivery)
        if peer and batch:
            peer.push(Deliver(tuple(batch)))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something a worker did makes this true."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(condition)

    async def ending(self, key: tuple[bytes, int]) -> SettleItem:
        """Wait for the settle of this lease."""
        await self.until(lambda: key in self.settled)
        return self.settled[key]

    def of_type(self, kind: type) -> list[Request]:
        return [request for request in self.requests if isinstance(request, kind)]

    # ------------------------------------------------------------ answering

    def on_request(self, peer: _Peer, request_id: int, request: Request) -> None:
        self.requests.append(request)
        if isinstance(request, Settle):
            self.settle_frames.append(request)
        error = self.refuse(request)
        if error is not None:
            peer.reply(request_id, error)
        else:
            self._spawn(self._answer(peer, request_id, request))
        self._spawn(self._tell())

    async def _answer(self, peer: _Peer, request_id: int, request: Request) -> None:
        if isinstance(request, Settle):
            await self.settle_gate.wait()
        peer.reply(request_id, self._reply(peer, request))
        self.hand_out()
        await self._tell()

    def _reply(self, peer: _Peer, request: Request) -> Reply:
        if isinstance(request, Register):
            peer.is_registered = True
            self.registrations += 1
            self._capacity = request.capacity
            held = set(request.holds)
            lost = tuple(key for key in request.holds if key in self.lost or key not in self.leased)
            again = tuple(delivery for key, delivery in self.leased.items() if key not in held)
            if again:
                asyncio.get_running_loop().call_soon(peer.push, Deliver(again))
            return Registered(lost, 5_000)
        if isinstance(request, SetCapacity):
            self._capacity = request.capacity
        if isinstance(request, Settle):
            return Settled(bytes(self._settle(item) for item in request.items))
        if isinstance(request, Extend):
            return Settled(
                bytes(SETTLED_OK if item[:2] in self.leased else SETTLED_LEASE_LOST for item in request.items)
            )
        assert isinstance(request, SetCapacity | Heartbeat | Deregister) or not hasattr(request, "tasks")
        return Done()

    def _settle(self, item: SettleItem) -> int:
        key = (item.task_id, item.token)
        if key in self.lost or self.leased.pop(key, None) is None:
            return SETTLED_LEASE_LOST
        self.settled[key] = item
        return SETTLED_OK

    def _spawn(self, work: object) -> None:
        task = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Peer(asyncio.Protocol):
    def __init__(self, broker: BrokerDouble) -> None:
        self._broker = broker
        self._connection = Connection(Role.BROKER)
        self.is_registered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._broker.peers.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._broker.peers.remove(self)

    def data_received(self, data: bytes) -> None:
        for event in self._connection.receive(data):
            if isinstance(event, HelloReceived):
                self._connection.accept_hello("double")
            elif isinstance(event, RequestReceived):
                self._broker.on_request(self, event.request_id, event.request)
            elif isinstance(event, CloseReceived | Failed):
                self._flush()
                self.transport.close()
        self._flush()

    def reply(self, request_id: int, reply: Reply | TqError) -> None:
        self._connection.send_reply(request_id, reply)
        self._flush()

    def push(self, push: Deliver | Abort) -> None:
        self._connection.send_push(push)
        self._flush()

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)
