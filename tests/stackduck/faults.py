"""Breaks Redis, PostgreSQL and the broker under load, again and again, and compares the record with what was acknowledged.

Two clients of StackDuck work all the time: one enqueues, one consumes and completes. A trigger in the database writes
down every row that becomes `completed`. At the end every acknowledged job must be completed, and none twice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import asyncpg
import grpc

from lab.ports import ReservedPort
from lab.processes import Process, start_broker
from lab.servers import PostgresServer, RedisServer
from tests.grpc.serving import Client
from tq.proto import stackduck_pb2 as duck

DIAL = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))
"""gRPC's own pause between two tries to connect grows to two minutes: longer than most faults are apart."""
BREAK_S = (0.2, 1.5)
"""How long a server is stopped, and how long the load runs between two faults."""
CALL_S = 15.0
HANDS = 16
"""Jobs that the consumer has in hand at a time: one by one it would work on what it holds long after the last fault."""
TRIES_MAX, RETRY_S = 40, 0.25
"""How often a job's end is told, and how far apart."""
STILL_LOOKS = 1_500
LOOK_S = 0.1
"""So many looks without a job that ends, and the rest is left. Jobs of a broker that was killed come back after its lease
on life is over. Looks, not seconds: the campaign itself may be stopped for a while."""
BACKLOG_MAX = 500
"""Jobs acknowledged and not completed, as its consumer knows, beyond which the producer waits."""
ROUNDS_KINDS = ("redis kill", "redis stop", "postgres kill", "postgres stop", "broker kill", "broker stop")
WAITING = "SELECT count(*) AS n FROM jobs WHERE lower(status) IN ('queued', 'running')"
AUDIT = """
CREATE TABLE audit (id UUID);
CREATE FUNCTION note() RETURNS TRIGGER AS $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER note AFTER UPDATE ON jobs FOR EACH ROW
    WHEN (NEW.status = 'completed' AND OLD.status IS DISTINCT FROM 'completed') EXECUTE FUNCTION note();
"""


class Verdict(NamedTuple):
    """acknowledged: jobs that were. lost: of them, those without a row, or whose row says that they ended otherwise. left: those that waited
    or ran when nothing moved any more. twice: completed more than once in the record."""

    rounds: int
    acknowledged: int
    refused: int
    lost: int
    left: int
    twice: int

    @property
    def is_fine(self) -> bool:
        return not (self.lost or self.left or self.twice)


class Campaign:
    def __init__(self, directory: Path, rng: random.Random, *, broker: Sequence[str] = ()) -> None:
        """broker: what runs in tq-broker's place."""
        self._directory = directory
        self._rng = rng
        self._command = broker
        self._acknowledged: set[str] = set()
        self._completed: set[str] = set()
        self._refused = 0
        self._is_over = False

    async def run(
        self,
        rounds: int,
        say: Callable[[str], None] = lambda _: None,
        *,
        kinds: Sequence[str] = ROUNDS_KINDS,
    ) -> Verdict:
        """So many faults of each of these kinds, shuffled."""
        with RedisServer() as redis, PostgresServer() as postgres, ReservedPort() as port:
            self._redis, self._postgres, self._port = redis, postgres, port
            self._broker = await asyncio.to_thread(self._start)
            await asyncio.to_thread(self._broker.wait_for_event, "ready")
            await self._sql(AUDIT)
            load = [asyncio.create_task(each()) for each in (self._produce, self._consume)]
            try:
                faults = [kind for kind in kinds for _ in range(rounds)]
                self._rng.shuffle(faults)
                for number, fault in enumerate(faults, 1):
                    await self._progress()
                    await self._break(fault)
                    say(f"{number} of {len(faults)}: {fault}, {len(self._acknowledged)} acknowledged")
                self._is_over = True
                await load[0]
                await self._drained(load[1])
            finally:
                for task in load:
                    task.cancel()
                await asyncio.gather(*load, return_exceptions=True)
                await asyncio.to_thread(self._broker.kill)
            return await self._verdict(len(faults))

    async def _progress(self) -> None:
        """The load runs again: new jobs are acknowledged. Or it does not, for long, and the next fault comes anyway."""
        before = len(self._acknowledged)
        await asyncio.sleep(self._rng.uniform(*BREAK_S))
        with suppress(TimeoutError):
            async with asyncio.timeout(CALL_S):
                while len(self._acknowledged) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    def _start(self) -> Process:
        config = self._directory / "tq.yaml"
        config.write_text(
            f"backend: {{redis_url: '{self._redis.url}', database_url: '{self._postgres.url}'}}\n"
        )
        flags = ("--config", str(config), "--grpc-port", str(self._port.number))
        return start_broker(self._directory, *flags, command=self._command)

    async def _break(self, fault: str) -> None:
        who, _, how = fault.partition(" ")
        server = self._redis if who == "redis" else self._postgres
        if who == "broker" and how == "kill":
            await asyncio.to_thread(self._broker.kill)
            self._broker = await asyncio.to_thread(self._start)
            await asyncio.to_thread(self._broker.wait_for_event, "ready")
        elif who == "broker":
            self._broker.send(19)  # SIGSTOP
            await asyncio.sleep(self._rng.uniform(*BREAK_S))
            self._broker.send(18)  # SIGCONT
        elif how == "kill":
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(self._rng.uniform(*BREAK_S))
            await asyncio.to_thread(server.start)
        else:
            server.pause()
            await asyncio.sleep(self._rng.uniform(*BREAK_S))
            server.resume()

    # ------------------------------------------------------------ the load

    def _channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self._port.number}", options=DIAL)

    async def _produce(self) -> None:
        async with self._channel() as channel:
            client = Client(channel)
            while not self._is_over:
                if len(self._acknowledged - self._completed) > BACKLOG_MAX:
                    await asyncio.sleep(0.5)
                    # Of some the consumer never learned that it was done.
                    self._completed = await self._completed_ids()
                    continue
                calls = [
                    client.duck(duck.EnqueueJobRequest(job_type="mail", payload="1", max_retries=3))
                    for _ in range(8)
                ]
                accepted = 0
                for answer in await asyncio.gather(*calls, return_exceptions=True):
                    if isinstance(answer, duck.EnqueueJobResponse) and answer.success:
                        self._acknowledged.add(answer.job_id)
                        accepted += 1
                self._refused += len(calls) - accepted
                # A broker that is starting needs the cores more than it needs to be asked.
                await asyncio.sleep(0.02 if accepted else 0.2)

    async def _consume(self) -> None:
        async with self._channel() as channel:
            client = Client(channel)
            async with asyncio.TaskGroup() as jobs:
                hands = asyncio.Semaphore(HANDS)
                while True:
                    stream = client.consume("mail")
                    with suppress(grpc.aio.AioRpcError):
                        while (message := await stream.read()) is not grpc.aio.EOF:
                            await hands.acquire()
                            jobs.create_task(self._complete(client, message.job.id)).add_done_callback(
                                lambda _: hands.release()
                            )
                    await asyncio.sleep(0.1)

    async def _complete(self, client: Client, job_id: str) -> None:
        """Until it is told that this is done, for as long as faults last: with both stores away it did not happen, and who
        has the job keeps it. Then once more, as a client that did not get the answer would."""
        for _ in range(TRIES_MAX):
            if await self._says_done(client, job_id):
                break
            await asyncio.sleep(RETRY_S)
        await self._says_done(client, job_id)

    async def _says_done(self, client: Client, job_id: str) -> bool:
        with suppress(grpc.aio.AioRpcError):
            if (await client.duck(duck.CompleteJobRequest(job_id=job_id))).success:
                self._completed.add(job_id)
                return True
        return False

    # ------------------------------------------------------------ the record

    async def _drained(self, consumer: asyncio.Task[None]) -> None:
        """Until nothing waits or runs any more, or nothing ends any more: the load leaves as long a queue as it likes."""
        left, looks = -1, 0
        while looks < STILL_LOOKS:
            looks += 1
            rows = await self._sql(WAITING)
            if rows[0]["n"] != left:
                left, looks = rows[0]["n"], 0
            if not left:
                return
            if consumer.done():
                consumer.result()  # raises: nothing would end any more
            await asyncio.sleep(LOOK_S)

    async def _completed_ids(self) -> set[str]:
        return {str(row["id"]) for row in await self._sql("SELECT id FROM jobs WHERE status = 'completed'")}

    async def _verdict(self, rounds: int) -> Verdict:
        status = {
            str(row["id"]): row["status"].lower() for row in await self._sql("SELECT id, status FROM jobs")
        }
        audited = Counter(str(row["id"]) for row in await self._sql("SELECT id FROM audit"))
        found = Counter(status.get(job_id, "") for job_id in self._acknowledged)
        left = found["queued"] + found["running"]
        lost = len(self._acknowledged) - found["completed"] - left
        twice = sum(count > 1 for count in audited.values())
        return Verdict(rounds, len(self._acknowledged), self._refused, lost, left, twice)

    async def _sql(self, statement: str) -> list[asyncpg.Record]:
        while True:
            try:
                connection = await asyncpg.connect(self._postgres.url, timeout=CALL_S)
                try:
                    if statement is AUDIT:
                        await connection.execute(statement)
                        return []
                    return list(await connection.fetch(statement))
                finally:
                    await connection.close()
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.2)
