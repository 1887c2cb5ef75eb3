"""REST doors to test: one of a whole broker in this process, one over a backend that answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.doors.serving import WAIT_S, Dialler
from tests.doors.serving import run as run  # noqa: PLC0414  scenarios here run alike
from tq.broker.access import Access, OpenAccess
from tq.broker.admission import Admission, Limits
from tq.broker.api.rest.app import Parts
from tq.broker.api.rest.bodies import Bodies
from tq.broker.api.rest.door import RestDoor
from tq.broker.backend import Answer, Capabilities, Peer
from tq.broker.feed import Feed
from tq.broker.lifecycle import Fatal
from tq.broker.node import Node
from tq.broker.observe import Observer
from tq.broker.rates import Rates
from tq.broker.service import Service
from tq.clock import SystemClock
from tq.config import load_broker
from tq.errors import TqError
from tq.ids import new_id
from tq.protocol.events import Welcomed
from tq.verbs import (
    AddNode,
    Cancel,
    CancelMany,
    Changed,
    Cluster,
    DeadLetters,
    Deliver,
    Done,
    Drained,
    DrainWorker,
    Failures,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Health,
    Import,
    Latency,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Purged,
    Queues,
    Register,
    Registered,
    RemoveNode,
    Reply,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    Series,
    Settle,
    SettleItem,
    Stats,
    Submit,
    Submitted,
    TaskPage,
    TaskRef,
    TransferLeadership,
    Watch,
    Watching,
    Workers,
)

JSON = {"content-type": "application/json"}
TASKS = "/api/v1/tasks"


@dataclass
class Running:
    """A whole broker in this process."""

    node: Node
    addresses: dict[str, str]
    http: httpx.AsyncClient
    dialled: list[Dialler] = field(default_factory=list)

    async def submit(self, **fields: object) -> str:
        """Submit one task and return its id; the type is `t` unless given."""
        answer = await self.http.post(TASKS, json={"task_type": "t", **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["task_id"])

    async def dial(self, role: str = "worker") -> Dialler:
        """A peer at the TCP door, such as a worker."""
        host, port = self.addresses["tcp"].split(":")
        peer = Dialler(*await asyncio.open_connection(host, int(port)))
        peer.core.start_hello(role)
        peer.flush()
        await peer.next(Welcomed)
        self.dialled.append(peer)
        return peer

    async def work(self, *, settle: bool = True) -> Deliver:
        """Be a worker of one slot that takes the next task of type `t` and, unless told not to, completes it."""
        worker = await self.dial()
        assert isinstance(await worker.ask(Register(new_id(), "w1", ("default",), ("t",), 1)), Registered)
        delivered = await worker.next_push()
        assert isinstance(delivered, Deliver)
        if settle:
            task = delivered.tasks[0]
            await worker.ask(Settle((SettleItem(task.task_id, task.token, result=b"done"),)))
        return delivered


@asynccontextmanager
async def running(path: Path, more: str = "") -> AsyncIterator[Running]:
    """more: further lines of the configuration file."""

    def die(code: int) -> None:
        raise AssertionError(f"the broker would have exited with {code}")

    file = path / "tq.yaml"
    file.write_text(f"api: {{rest_port: 0, grpc_port: null}}\n{more}\n")
    config = load_broker(str(file), {}, {"host": "127.0.0.1", "port": "0", "data-dir": str(path / "data")})
    node = Node(config, SystemClock(), Fatal(die), tls=None)
    addresses = await node.start()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://{addresses['rest']}", timeout=WAIT_S, verify=False
        ) as http:
            broker = Running(node, addresses, http)
            yield broker
            for peer in broker.dialled:
                peer.writer.transport.abort()
    finally:
        await node.stop(asyncio.Event())


class ScriptedBackend:
    """Answers each verb with what stands in `replies`, or not at all while it holds."""

    capabilities = Capabilities()
    depth = 0

    def __init__(self) -> None:
        self.replies: dict[type[Request], Reply | TqError] = dict(USUAL)
        self.held: list[tuple[Peer, Answer]] = []
        self.hold = False
        self.seen: list[Request] = []
        self.gone: list[Peer] = []
        self.peers: list[Peer] = []

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    def disconnected(self, peer: Peer) -> None:
        self.gone.append(peer)

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        self.seen.append(request)
        self.peers.append(peer)
        if self.hold:
            self.held.append((peer, answer))
        else:
            answer(self.replies[type(request)])

    def release(self) -> None:
        """Answer everybody who was held back, with Done."""
        held, self.held, self.hold = self.held, [], False
        for _, answer in held:
            answer(Done())


REF = TaskRef(bytes(16), 3)
STATS = Stats(*[0] * 17, queues=())
SERIES = Series(60_000, 60_000, *[(-1,)] * 6, Latency(300_000))
USUAL: dict[type[Request], Reply | TqError] = {
    Submit: Submitted(1_700_000_000_000, bytes([3])),
    GetTask: REF,  # replaced by tests that look
    Watch: Watching(),
    Cancel: REF,
    Retry: REF,
    ListTasks: TaskPage((), 0, 100, 0, 0),
    Purge: Purged(0, False),
    PauseQueue: Done(),
    ResumeQueue: Done(),
    GetStats: STATS,
    ListWorkers: Workers(()),
    GetCluster: Cluster((), ""),
    AddNode: Cluster((), ""),
    RemoveNode: Cluster((), ""),
    TransferLeadership: Cluster((), ""),
    GetHealth: Health("healthy", True, "node1", 0, 0, "strict"),
    Ping: Done(),
    DrainWorker: Drained(()),
    GetSeries: SERIES,
    ListQueues: Queues(()),
    ListFailures: Failures(()),
    GroupDeadLetters: DeadLetters((), 0, 0),
    CancelMany: Changed(0, 0, 0),
    RetryMany: Changed(0, 0, 0),
    ForgetMany: Changed(0, 0, 0),
    Import: Changed(0, 0, 0),
}


@dataclass
class Scripted:
    """A door over a ScriptedBackend, and plain sockets to it."""

    door: RestDoor
    backend: ScriptedBackend
    feed: Feed
    parts: Parts
    observer: Observer
    host: str
    port: int
    http: httpx.AsyncClient
    dialled: list[asyncio.StreamWriter] = field(default_factory=list)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.dialled.append(writer)
        return reader, writer

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until the condition holds. Raises TimeoutError after WAIT_S."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  conditions of the door have no event of their own
                await asyncio.sleep(0.002)


@asynccontextmanager
async def scripted(
    *,
    limits: Limits | None = None,
    access: Access | None = None,
    rates: Rates | None = None,
    feed: Feed | None = None,
    bodies: Bodies | None = None,
    call_s_max: float = WAIT_S,
    check_s: float = WAIT_S,
) -> AsyncIterator[Scripted]:
    """Fails when anything raised where nothing may: a peer must not be able to cause that."""
    backend, observer = ScriptedBackend(), Observer()
    admission = Admission(limits or Limits())
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    service = Service(backend, access or OpenAccess(), admission, observer, defects.append, rates)
    feed = feed or Feed()
    parts = Parts(
        service,
        observer,
        feed,
        SystemClock(),
        new_id,
        lambda accept: ("text/plain", b"up 1\n"),
        bodies=bodies or Bodies(),
        call_s_max=call_s_max,
        check_s=check_s,
    )
    door = RestDoor(parts, admission)
    host, port = await door.open("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=WAIT_S, verify=False) as http:
            here = Scripted(door, backend, feed, parts, observer, host, port, http)
            yield here
    finally:
        for writer in here.dialled:
            writer.transport.abort()
        backend.release()
        await door.close(0)
    assert defects == []
    assert parts.bodies.held_bytes == 0


@dataclass
class Answered:
    """One response, read off a plain socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


async def read_answer(reader: asyncio.StreamReader) -> Answered:
    async with asyncio.timeout(WAIT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answered(int(head[0].split()[1]), headers, body)


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the broker hangs up, or cuts."""
    async with asyncio.timeout(WAIT_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def request_bytes(
    method: str, target: str, body: bytes = b"", *headers: str, length: int | None = None
) -> bytes:
    """A request as it stands on the wire. length: announced, when it is not that of the body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: tq.example", *headers]
    if body or length is not None:
        lines += [
            "Content-Type: application/json",
            f"Content-Length: {len(body) if length is None else length}",
        ]
    return "\r\n".join([*lines, "", ""]).encode() + body
