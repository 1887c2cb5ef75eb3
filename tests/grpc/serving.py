"""A gRPC door over a whole native backend in memory, and clients that know the .proto files and nothing else."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar, cast
from uuid import uuid4

import grpc
import uvloop
from google.protobuf.message import Message

from tests.engine.harness import Engine
from tests.grpc.raw import RawClient
from tq.broker.access import Access, OpenAccess
from tq.broker.admission import Admission, Limits
from tq.broker.api.grpc.door import GrpcDoor
from tq.broker.api.stackduck.servicer import StackDuck
from tq.broker.backend import Backend
from tq.broker.engine.backend import EngineSettings
from tq.broker.observe import Observer
from tq.broker.rates import Rates
from tq.broker.replication.memory import MemoryLog
from tq.broker.service import Service
from tq.broker.storage.memory import MemoryStore
from tq.broker.tls import TlsContext
from tq.clock import ManualClock, SystemClock
from tq.proto import stackduck_pb2 as duck
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import PauseQueue

WAIT_S = 30.0
"""Far longer than anything here takes, on any machine; a test that reaches it has failed."""
GRACE_MS = 50
TASK_QUEUE, STACKDUCK = "taskqueue.v1.TaskQueue", "stackduck.StackDuckService"

M = TypeVar("M", bound=Message)


def run(scenario: Coroutine[Any, Any, None], seconds: float = 3 * WAIT_S) -> None:
    """Run one scenario, for at most so long, on a loop that all scenarios of this process share.

    grpc's queue of events is one a process too: what an ended call still has to say would find its loop closed.
    """

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await scenario

    async def end_the_rest() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    loop = _loop()
    try:
        loop.run_until_complete(bounded())
    finally:
        loop.run_until_complete(end_the_rest())
        loop.set_exception_handler(None)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    made = uvloop.new_event_loop()
    atexit.register(made.close)
    return made


def methods() -> list[tuple[str, str]]:
    """(service, method) of everything in the two .proto files."""
    services = (
        pb.DESCRIPTOR.services_by_name["TaskQueue"],
        duck.DESCRIPTOR.services_by_name["StackDuckService"],
    )
    return [(service.full_name, method.name) for service in services for method in service.methods]


@dataclass
class Client:
    """Calls by name, with messages whose classes the .proto files give. key: sent as a bearer key."""

    channel: grpc.aio.Channel
    key: str = ""

    async def ask(self, request: Message, service: str = TASK_QUEUE, timeout: float = WAIT_S) -> Any:
        """The unary call that takes this kind of request. Raises AioRpcError."""
        method = request.DESCRIPTOR.name.removesuffix("Request")
        file = pb if service == TASK_QUEUE else duck
        reply = (
            file.DESCRIPTOR.services_by_name[service.rpartition(".")[2]]
            .methods_by_name[method]
            .output_type.name
        )
        call = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(file, reply).FromString,
        )
        return await call(request, timeout=timeout, metadata=self.metadata)

    async def duck(self, request: Message) -> Any:
        return await self.ask(request, STACKDUCK)

    async def raw(self, service: str, method: str, data: bytes) -> bytes:
        """Any bytes to any method as if it were unary."""
        return cast(
            bytes,
            await self.channel.unary_unary(f"/{service}/{method}")(
                data, timeout=WAIT_S, metadata=self.metadata
            ),
        )

    def updates(self, task_id: str) -> Any:
        return self.channel.unary_stream(
            f"/{TASK_QUEUE}/StreamTaskUpdates",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.Task.FromString,
        )(pb.StreamTaskUpdatesRequest(task_id=task_id), metadata=self.metadata)

    def consume(self, *job_types: str, worker_id: str = "w") -> Any:
        return self.channel.unary_stream(
            f"/{STACKDUCK}/ConsumeJobs",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=duck.JobMessage.FromString,
        )(duck.ConsumeJobsRequest(worker_id=worker_id, job_types=job_types), metadata=self.metadata)

    def work(self) -> Worker:
        """A Work stream that has said nothing yet."""
        call = self.channel.stream_stream(
            f"/{TASK_QUEUE}/Work",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.WorkResponse.FromString,
        )
        return Worker(call(metadata=self.metadata))

    async def worker(self, *task_types: str, capacity: int = 1, **fields: Any) -> Worker:
        """A Work stream that has registered."""
        worker = self.work()
        await worker.register(*task_types, capacity=capacity, **fields)
        return worker

    async def submit(self, **fields: Any) -> str:
        spec = pb.TaskSpec(**{"task_type": "echo", "payload": b"x"} | fields)
        return cast(str, (await self.ask(pb.SubmitTaskRequest(task=spec))).task_id)

    async def status(self, task_id: str, **fields: Any) -> pb.Task:
        return cast(pb.Task, await self.ask(pb.GetTaskStatusRequest(task_id=task_id, **fields)))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.key}"),) if self.key else ()


class Worker:
    """One Work stream. What arrives is kept by kind until it is asked for."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.deliveries: list[pb.Delivery] = []
        self.aborts: list[pb.Abort] = []
        self.answers: dict[int, pb.WorkAnswer] = {}
        self.draining: list[pb.Draining] = []
        self.drains: list[pb.Drain] = []
        self.session_id = str(uuid4())
        self._request_id = 0

    async def send(self, **fields: Any) -> pb.WorkAnswer:
        """One request and its answer."""
        self._request_id += 1
        request_id = self._request_id
        await self.call.write(pb.WorkRequest(request_id=request_id, **fields))
        return await self.answer(request_id)

    async def register(self, *task_types: str, capacity: int, **fields: Any) -> pb.WorkAnswer:
        named = {"session_id": self.session_id, "worker_id": "w1"} | fields
        register = pb.Register(task_types=task_types or ("echo",), capacity=capacity, **named)
        return await self.send(register=register)

    async def settle(self, delivery: pb.Delivery, **fields: Any) -> pb.WorkAnswer:
        item = pb.Settlement(task_id=delivery.task_id, token=delivery.token, **fields)
        return await self.send(settlements=[item])

    async def answer(self, request_id: int) -> pb.WorkAnswer:
        await self.until(lambda: request_id in self.answers)
        return self.answers.pop(request_id)

    async def delivery(self) -> pb.Delivery:
        await self.until(lambda: self.deliveries)
        return self.deliveries.pop(0)

    async def abort(self) -> pb.Abort:
        await self.until(lambda: self.aborts)
        return self.aborts.pop(0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until the condition holds. Raises EOFError when the stream ends before."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                message = await self.call.read()
                if message is grpc.aio.EOF:
                    raise EOFError
                self.deliveries += message.deliveries
                self.aborts += message.aborts
                self.answers |= {answer.request_id: answer for answer in message.answers}
                if message.HasField("draining"):
                    self.draining.append(message.draining)
                if message.HasField("drain"):
                    self.drains.append(message.drain)

    async def read_to_end(self) -> grpc.StatusCode:
        """The status the stream ends with."""
        with suppress(EOFError, grpc.aio.AioRpcError):
            await self.until(lambda: False)
        return cast(grpc.StatusCode, await self.call.code())


@dataclass
class Serving:
    """What a scenario may look at. client: without a key."""

    door: GrpcDoor
    engine: Engine
    service: Service
    observer: Observer
    address: str
    client: Client
    channels: list[grpc.aio.Channel] = field(default_factory=list)
    raws: list[RawClient] = field(default_factory=list)

    def connect(
        self, key: str = "", *, options: Sequence[tuple[str, Any]] = (), ca: bytes | None = None
    ) -> Client:
        """A client on a connection of its own. ca: trust it, and speak TLS."""
        own = [("grpc.use_local_subchannel_pool", 1), *options]
        if ca is None:
            channel = grpc.aio.insecure_channel(self.address, options=own)
        else:
            channel = grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(ca), options=own)
        self.channels.append(channel)
        return Client(channel, key)

    def raw(self, *, window: int = 65_535) -> RawClient:
        """A client without a library. window: see there."""
        self.raws.append(RawClient(self.address, window=window))
        return self.raws[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until the condition holds. Raises TimeoutError after WAIT_S."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  conditions of the door have no event of their own
                await asyncio.sleep(0.002)

    async def until_due(self, task_id: str) -> None:
        """Until a task whose time has come is ready to be handed out."""
        await self._until_status(task_id, {pb.TASK_STATUS_PENDING})

    async def until_settled(self, task_id: str) -> None:
        """Until nobody holds the task any more."""
        await self._until_status(task_id, set(pb.TaskStatus.values()) - {pb.TASK_STATUS_IN_PROGRESS})

    async def _until_status(self, task_id: str, wanted: Collection[int]) -> None:
        async with asyncio.timeout(WAIT_S):
            while (await self.client.status(task_id)).status not in wanted:
                await self.engine.call(PauseQueue("unused"))

    async def pass_time(self, ms: int) -> None:
        """Move the broker's clock; what falls due does so at its next entry."""
        self.engine.clock.advance(ms)
        await self.engine.call(PauseQueue("unused"))


class _AheadClock(SystemClock):
    def __init__(self, ms: int) -> None:
        self._ms = ms

    def now_ms(self) -> int:
        return super().now_ms() + self._ms


@asynccontextmanager
async def serving(
    *,
    limits: Limits | None = None,
    access: Access | None = None,
    rates: Rates | None = None,
    tls: TlsContext | None = None,
    backend: Backend | None = None,
    idle_s: float = WAIT_S,
    ahead_ms: int = 0,
) -> AsyncIterator[Serving]:
    """A door on a free port. backend: instead of the native one. idle_s: of StackDuck's sessions for dequeues.

    ahead_ms: by so much the door's clock is ahead of its callers', and their deadlines nearer than they think.

    Fails when anything raised where nothing may: a caller must not be able to cause that.
    """
    engine = Engine(MemoryStore(), MemoryLog(), ManualClock(), EngineSettings(grace_ms=GRACE_MS))
    await engine.backend.start()
    admission, observer = Admission(limits or Limits()), Observer()
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    service = Service(
        backend or engine.backend, access or OpenAccess(), admission, observer, defects.append, rates
    )
    additions = (partial(StackDuck, idle_s=idle_s),)
    door = GrpcDoor(
        service, admission, observer, engine.feed, additions=additions, clock=_AheadClock(ahead_ms)
    )
    host, port = await door.open("127.0.0.1", 0, tls)
    here = Serving(door, engine, service, observer, f"{host}:{port}", Client(cast(Any, None)))
    here.client = here.connect()
    try:
        yield here
    finally:
        for channel in here.channels:
            await channel.close()
        for raw in here.raws:
            raw.close()
        door.stop_accepting()
        await door.close(0)
        await engine.stop()
    assert defects == [], defects
    assert engine.fatal == []


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The error a call must end with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it was answered")


def trailing(error: grpc.aio.AioRpcError) -> dict[str, str]:
    return {str(name): str(value) for name, value in error.trailing_metadata() or ()}
