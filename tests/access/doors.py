"""Each door as the access matrix sees it: send a verb with a key, and learn the code of the answer.

A door that is added goes into DOORS, with the verbs it has no call for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, Protocol

import grpc
import httpx
import websockets

from tests.access.samples import SAMPLES, TASK_ID
from tests.doors.serving import Dialler
from tq import ids
from tq.broker.access import Access
from tq.broker.admission import Admission, Limits
from tq.broker.api.grpc.door import GrpcDoor
from tq.broker.api.rest.app import Parts
from tq.broker.api.rest.door import RestDoor
from tq.broker.api.tcp import TcpDoor
from tq.broker.backend import Answer, Capabilities, Peer
from tq.broker.feed import Feed
from tq.broker.observe import Observer
from tq.broker.rates import Rates
from tq.broker.service import Service
from tq.broker.tls import TlsContext
from tq.clock import SystemClock
from tq.errors import Unsupported
from tq.proto import taskqueue_pb2 as pb
from tq.proto.taskqueue_pb2_grpc import TaskQueueStub
from tq.protocol.events import CloseReceived, Welcomed
from tq.verbs import (
    AddNode,
    Backup,
    Cancel,
    CancelMany,
    Claim,
    Deregister,
    DrainWorker,
    Extend,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Heartbeat,
    Import,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Register,
    RemoveNode,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    SetCapacity,
    Settle,
    Submit,
    TransferLeadership,
    Watch,
)

Verb = type[Request]
TASK = ids.to_text(TASK_ID)


class Recorder:
    """A backend that can do nothing, and notes what came through to it."""

    capabilities = Capabilities()
    depth = 0

    def __init__(self) -> None:
        self.seen: list[Verb] = []

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    def disconnected(self, peer: Peer) -> None:
        return

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        self.seen.append(type(request))
        answer(Unsupported("the recorder only records"))


class Behind(NamedTuple):
    """What a door is made over. tls: None = it speaks in the clear."""

    service: Service
    admission: Admission
    observer: Observer
    feed: Feed
    tls: TlsContext | None = None


def behind(
    access: Access, recorder: Recorder, tls: TlsContext | None = None, rates: Rates | None = None
) -> Behind:
    def never(error: BaseException) -> None:
        raise AssertionError("the broker would stop") from error

    admission, observer = Admission(Limits()), Observer()
    service = Service(recorder, access, admission, observer, never, rates)
    return Behind(service, admission, observer, Feed(100), tls)


class Open(Protocol):
    """A door that is open."""

    address: tuple[str, int]

    async def send(self, verb: Verb, token: str | None) -> str:
        """The code of the error that answers, empty for none. token: None = no key is given at all."""
        ...


class Door(NamedTuple):
    """open: opens it and closes it. lacks: the verbs that it has no call for."""

    open: Callable[[Behind], AbstractAsyncContextManager[Open]]
    lacks: frozenset[Verb]


# ---------------------------------------------------------------- TCP


class OpenTcp:
    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    async def send(self, verb: Verb, token: str | None) -> str:
        peer = Dialler(*await asyncio.open_connection(*self.address))
        peer.core.start_hello("client", token or "", "test")
        peer.flush()
        try:
            while not any(isinstance(event, Welcomed | CloseReceived) for event in peer.events):
                await peer._read()
            greeting = peer.events[0]
            if isinstance(greeting, CloseReceived):
                return greeting.error.code if greeting.error else ""
            return str(getattr(await peer.ask(SAMPLES[verb]), "code", ""))
        finally:
            await peer.hang_up()


@asynccontextmanager
async def open_tcp(parts: Behind) -> AsyncIterator[Open]:
    door = TcpDoor(parts.service, parts.admission, parts.observer, SystemClock(), node_id="n")
    try:
        yield OpenTcp(await door.open("127.0.0.1", 0, parts.tls.context if parts.tls else None))
    finally:
        await door.cut()


# ---------------------------------------------------------------- REST

CALLS: dict[Verb, tuple[str, str, object]] = {
    Submit: ("POST", "/tasks", {"task_type": "t"}),
    Retry: ("POST", f"/tasks/{TASK}/retry", None),
    GetTask: ("GET", f"/tasks/{TASK}", None),
    ListTasks: ("GET", "/tasks", None),
    Cancel: ("DELETE", f"/tasks/{TASK}", None),
    GetStats: ("GET", "/stats", None),
    GetSeries: ("GET", "/series", None),
    ListQueues: ("GET", "/queues", None),
    ListFailures: ("GET", "/failures", None),
    GroupDeadLetters: ("GET", "/dead-letters", None),
    CancelMany: ("POST", "/tasks/bulk/cancel", {"task_ids": [TASK]}),
    RetryMany: ("POST", "/tasks/bulk/retry", {"task_ids": [TASK]}),
    ForgetMany: ("POST", "/tasks/bulk/delete", {"task_ids": [TASK]}),
    DrainWorker: ("POST", "/workers/w/drain", None),
    ListWorkers: ("GET", "/workers", None),
    GetCluster: ("GET", "/cluster", None),
    GetHealth: ("GET", "/health", None),
    AddNode: ("POST", "/cluster/nodes", {"node_id": "n2", "address": "h:7379"}),
    RemoveNode: ("DELETE", "/cluster/nodes/n2", None),
    TransferLeadership: ("POST", "/cluster/transfer", None),
    Purge: ("POST", "/tasks/purge", {"status": "completed"}),
    PauseQueue: ("POST", "/queues/mail/pause", {"reason": "test"}),
    ResumeQueue: ("POST", "/queues/mail/resume", None),
}
"""verb -> method, path below /api/v1, body"""


class OpenRest:
    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._at = f"{address[0]}:{address[1]}"

    async def send(self, verb: Verb, token: str | None) -> str:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if verb is Watch:
            return await self._watch(headers)
        if verb is Ping:
            method, path, body = "GET", f"http://{self._at}/livez", None
        else:
            method, below, body = CALLS[verb]
            path = f"http://{self._at}/api/v1{below}"
        async with httpx.AsyncClient(headers=headers, trust_env=False, verify=False) as client:
            answer = await client.request(method, path, json=body)
        assert answer.status_code != 404, path
        return "" if answer.is_success else str(answer.json()["code"])

    async def _watch(self, headers: dict[str, str]) -> str:
        try:
            async with websockets.connect(
                f"ws://{self._at}/api/v1/events", additional_headers=headers, proxy=None
            ):
                return ""
        except websockets.InvalidStatus as refused:
            return str(json.loads(bytes(refused.response.body or b""))["code"])


@asynccontextmanager
async def open_rest(parts: Behind) -> AsyncIterator[Open]:
    made = Parts(parts.service, parts.observer, parts.feed, SystemClock(), ids.new_id)
    door = RestDoor(made, parts.admission)
    try:
        yield OpenRest(await door.open("127.0.0.1", 0, parts.tls))
    finally:
        await door.close(0)


# ---------------------------------------------------------------- gRPC


class OpenGrpc:
    def __init__(self, address: tuple[str, int], channel: grpc.aio.Channel) -> None:
        self.address = address
        self._stub: Any = TaskQueueStub(channel)  # type: ignore[no-untyped-call]

    async def send(self, verb: Verb, token: str | None) -> str:
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        try:
            if verb in WORK_PARTS:
                return await self._work(verb, metadata)
            method, message = UNARY[verb]
            await getattr(self._stub, method)(message, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            found: dict[Any, Any] = dict(error.trailing_metadata() or ())
            return str(found["tq-code"])
        return ""

    async def _work(self, verb: Verb, metadata: tuple[tuple[str, str], ...]) -> str:
        stream = self._stub.Work(metadata=metadata)
        await stream.write(pb.WorkRequest(request_id=1, **WORK_PARTS[verb]))
        async for response in stream:
            for answer in response.answers:
                stream.cancel()
                return str(answer.error.code)
        raise AssertionError("the stream ended without an answer")


UNARY: dict[Verb, tuple[str, object]] = {
    Submit: ("SubmitTask", pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="t"))),
    GetTask: ("GetTaskStatus", pb.GetTaskStatusRequest(task_id=TASK)),
    Watch: ("GetTaskStatus", pb.GetTaskStatusRequest(task_id=TASK, wait_seconds=1)),
    Cancel: ("CancelTask", pb.CancelTaskRequest(task_id=TASK)),
    ListTasks: ("ListTasks", pb.ListTasksRequest()),
    GetStats: ("GetStats", pb.GetStatsRequest()),
}
WORK_PARTS: dict[Verb, dict[str, Any]] = {
    Register: {
        "register": pb.Register(
            session_id=TASK, worker_id="w", queues=["default"], task_types=["t"], capacity=1
        )
    },
    Heartbeat: {"heartbeat": pb.Heartbeat()},
    SetCapacity: {"capacity": 1},
    Settle: {"settlements": [pb.Settlement(task_id=TASK, token=1)]},
    Extend: {"extensions": [pb.Extension(task_id=TASK, token=1, seconds=1)]},
    Deregister: {"deregister": True},
}


@asynccontextmanager
async def open_grpc(parts: Behind) -> AsyncIterator[Open]:
    door = GrpcDoor(parts.service, parts.admission, parts.observer, parts.feed)
    host, port = await door.open("127.0.0.1", 0, parts.tls)
    try:
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            yield OpenGrpc((host, port), channel)
    finally:
        await door.close(0)


DOORS = {
    "tcp": Door(open_tcp, frozenset()),
    "rest": Door(
        open_rest,
        # Workers do not speak REST, a copy of the data is not made from afar, and only programs that adopt import.
        frozenset({Register, Heartbeat, SetCapacity, Claim, Settle, Extend, Deregister, Backup, Import}),
    ),
    "grpc": Door(
        open_grpc,
        # Claims are the credit of the Work stream; health is the standard service, which asks for no key.
        frozenset(
            {
                *(Retry, Purge, PauseQueue, ResumeQueue, Backup),
                *(ListWorkers, GetCluster, GetHealth, Claim, Ping),
                *(AddNode, RemoveNode, TransferLeadership),
                *(DrainWorker, GetSeries, ListQueues, ListFailures, GroupDeadLetters),
                *(CancelMany, RetryMany, ForgetMany, Import),
            }
        ),
    ),
}
