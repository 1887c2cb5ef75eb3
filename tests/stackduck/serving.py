"""Brokers over one deployment of real servers, in this process, and plain clients that look at the stores from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg
import grpc
import redis.asyncio as aioredis

from lab.servers import PostgresServer, RedisServer
from tests.grpc.serving import Client, run
from tests.stackduck.pace import PACE
from tq.broker.access import OpenAccess, Permission, principal
from tq.broker.adapters.stackduck.backend import Settings, StackDuckBackend
from tq.broker.adapters.stackduck.pace import Pace
from tq.broker.admission import Admission, Limits
from tq.broker.api.grpc.door import GrpcDoor
from tq.broker.api.stackduck.servicer import StackDuck
from tq.broker.feed import Feed
from tq.broker.observe import Observer
from tq.broker.service import Caller, Service, Silent
from tq.clock import SystemClock
from tq.ids import new_id
from tq.proto import stackduck_pb2 as duck
from tq.verbs import Reply, Request

WAIT_S = 60.0
"""Far longer than anything here takes, on any machine; a test that reaches it has failed."""
GRACE_MS = 300

__all__ = ["Broker", "Deployment", "Servers", "deployed", "run"]


class Servers(NamedTuple):
    redis: RedisServer
    postgres: PostgresServer


@dataclass
class Broker:
    """One tq broker: its backend, a door for StackDuck's clients, and a client of it."""

    backend: StackDuckBackend
    service: Service
    door: GrpcDoor
    channel: grpc.aio.Channel
    defects: list[object]

    @property
    def client(self) -> Client:
        return Client(self.channel)

    async def ask(self, request: Request, caller: Caller | None = None) -> Reply:
        """A verb, as a door would ask it."""
        return await self.service.call(
            caller or Caller(Silent(), principal("tests", (Permission.ADMIN,))), request
        )

    async def enqueue(self, **fields: Any) -> str:
        answer = await self.client.duck(
            duck.EnqueueJobRequest(**{"job_type": "mail", "payload": "{}"} | fields)
        )
        assert answer.success, answer
        return str(answer.job_id)

    async def dequeue(self, job_type: str = "mail") -> duck.GrpcJob | None:
        answer = await self.client.duck(duck.DequeueJobRequest(queue_name=job_type, worker_id="w"))
        assert answer.success, answer
        return answer.job if answer.HasField("job") else None

    async def dequeued(self, job_type: str = "mail") -> duck.GrpcJob:
        """The next job, as soon as there is one."""
        found: list[duck.GrpcJob] = []

        async def look() -> bool:
            job = await self.dequeue(job_type)
            if job is not None:
                found.append(job)
            return bool(found)

        await until(look)
        return found[0]

    async def complete(self, job_id: str) -> bool:
        return bool((await self.client.duck(duck.CompleteJobRequest(job_id=job_id))).success)

    async def fail(self, job_id: str, text: str = "boom") -> bool:
        answer = await self.client.duck(duck.FailJobRequest(job_id=job_id, error_message=text))
        return bool(answer.success)

    async def retry(self, job_id: str, text: str = "again") -> bool:
        answer = await self.client.duck(duck.RetryJobRequest(job_id=job_id, error_message=text))
        return bool(answer.success)

    async def stop(self) -> None:
        """As at a SIGTERM."""
        await self.channel.close()
        self.door.stop_accepting()
        await self.backend.stop()
        await self.door.close(0)


@dataclass
class Deployment:
    """StackDuck's stores, empty at first, seen from outside."""

    servers: Servers
    database_url: str
    redis: Any
    brokers: list[Broker] = field(default_factory=list)

    async def broker(self, pace: Pace = PACE) -> Broker:
        defects: list[object] = []
        feed = Feed()
        settings = Settings(self.servers.redis.url, self.database_url, grace_ms=GRACE_MS, pace=pace)
        backend = StackDuckBackend(settings, SystemClock(), feed, defects.append, new_id=new_id)
        admission, observer = Admission(Limits()), Observer()
        service = Service(backend, OpenAccess(), admission, observer, defects.append)
        door = GrpcDoor(service, admission, observer, feed, additions=(StackDuck,))
        host, port = await door.open("127.0.0.1", 0, None)
        await backend.start()
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(f"{host}:{port}", options=options)
        made = Broker(backend, service, door, channel, defects)
        self.brokers.append(made)
        return made

    async def row(self, job_id: str) -> dict[str, Any]:
        """A row, as any client of PostgreSQL sees it."""
        connection = await asyncpg.connect(self.database_url)
        try:
            found = await connection.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
            assert found is not None, "there is no such row"
            return dict(found)
        finally:
            await connection.close()

    async def sql(self, statement: str, *values: object) -> list[Any]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def status(self, job_id: str) -> str:
        return str((await self.row(job_id))["status"])

    async def queue(self, job_type: str = "mail") -> list[tuple[str, float]]:
        found = await self.redis.zrange(f"Stackduck:queue:{job_type}", 0, -1, withscores=True)
        return [(member.decode(errors="replace"), score) for member, score in found]

    async def running(self) -> list[tuple[str, float]]:
        found = await self.redis.zrange("Stackduck:running", 0, -1, withscores=True)
        return [(member.decode(errors="replace"), score) for member, score in found]


@asynccontextmanager
async def deployed(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment of its own: an empty database, an empty Redis. Fails when anything raised where nothing may."""
    name = f"d{new_id().hex()}"
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    client = aioredis.Redis.from_url(servers.redis.url, protocol=2)
    await client.flushall()
    here = Deployment(servers, servers.postgres.url.rpartition("/")[0] + "/" + name, client)
    try:
        yield here
    finally:
        for each in here.brokers:
            await each.stop()
        await client.aclose()
    for each in here.brokers:
        assert each.defects == [], each.defects


async def until(condition: Callable[[], Coroutine[Any, Any, object]], seconds: float = WAIT_S) -> None:
    """Ask again and again until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  other people's stores have no event to wait for
            await asyncio.sleep(0.01)
