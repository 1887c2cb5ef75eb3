"""Load on, a server killed or stopped and started again, round after round; then stillness and judgement.

What must hold: every job whose `add` returned is Completed in the end, no job was completed twice in the record, and none
was set aside. The record's word is taken where it is written: a store in between counts completions that it accepted.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.rustq.places import Place, until
from tq.client.aio import AsyncClient
from tq.client.rustq import (
    AsyncQueue,
    AsyncWorker,
    BackoffStrategy,
    End,
    JobOptions,
    JobStatus,
    WorkerOptions,
)
from tq.client.rustq.redis_storage import RedisStorage
from tq.errors import TqError
from tq.task import Cause

WORK_SECONDS_MAX = 0.6
"""The longest a server is left alone between two rounds."""
STOP_SECONDS_MAX = 2.0
KILL_SHARE = 0.5
WORKER_SHARE = 0.2
"""In so many rounds a worker is closed and another takes its place."""
PRODUCERS = 4
WORKERS = 2
PAUSE_SECONDS = 0.01
"""Between two jobs of one producer."""
FLOWING = 5
"""So many jobs run between two rounds, at least: a server that is only ever starting proves nothing."""
ADD_SECONDS = 90.0
SETTLED_SECONDS_MAX = 120.0
QUICK = BackoffStrategy.fixed(0.2)


class Victim(Protocol):
    """A server that can be broken and comes back on its address."""

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass
class History:
    """What was promised and what came of it."""

    acknowledged: list[str] = field(default_factory=list)
    completions: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class CountingStorage(RedisStorage):
    """Redis, and a note of every completion that it accepted."""

    def __init__(self, url: str, history: History) -> None:
        super().__init__(url)
        self._history = history

    async def end_jobs(self, ends: Sequence[End], worker_id: str) -> Sequence[bool]:
        written = await super().end_jobs(ends, worker_id)
        for end, is_written in zip(ends, written, strict=True):
            if is_written and end.status is JobStatus.COMPLETED:
                self._history.completions[end.job_id] += 1
        return written


async def run(place: Place, victim: Victim, *, rounds: int, seed: int) -> History:
    """The whole campaign. The same seed makes the same choices, not the same timing."""
    history, rng = History(), random.Random(seed)
    async with AsyncExitStack() as stack:
        load = Load(place, history, rng, stack)
        await load.start()
        for number in range(rounds):
            await load.flow()
            await asyncio.sleep(rng.uniform(0, WORK_SECONDS_MAX))
            await break_once(victim, history, rng, is_kill=not number or rng.random() < KILL_SHARE)
            if rng.random() < WORKER_SHARE:
                await load.replace_worker()
        await load.stop_producing()
        await judge(place, history)
        await load.stop()
    return history


async def break_once(victim: Victim, history: History, rng: random.Random, *, is_kill: bool) -> None:
    if is_kill:
        history.counts["kills"] += 1
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(victim.start)
    else:
        history.counts["stops"] += 1
        victim.pause()
        await asyncio.sleep(rng.uniform(0.1, STOP_SECONDS_MAX))
        victim.resume()


class Load:
    """Producers and workers, each with connections of its own."""

    def __init__(self, place: Place, history: History, rng: random.Random, stack: AsyncExitStack) -> None:
        self._place = place
        self._history = history
        self._rng = rng
        self._stack = stack
        self._stopping = asyncio.Event()
        self._producing: list[asyncio.Task[None]] = []
        self._workers: list[tuple[AsyncWorker, asyncio.Task[None]]] = []
        self._flaky: set[object] = set()

    async def start(self) -> None:
        for _ in range(WORKERS):
            await self._start_worker()
        self._producing = [asyncio.create_task(self._produce(await self._queue())) for _ in range(PRODUCERS)]

    async def flow(self) -> None:
        """Return when FLOWING more jobs have run."""
        enough = len(self._history.runs) + FLOWING

        async def flowed() -> bool:
            return len(self._history.runs) >= enough

        await until(flowed)

    async def replace_worker(self) -> None:
        self._history.counts["workers replaced"] += 1
        await self._stop_worker(self._workers.pop(0))
        await self._start_worker()

    async def stop_producing(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._producing)

    async def stop(self) -> None:
        for worker in self._workers:
            await self._stop_worker(worker)

    async def _queue(self) -> AsyncQueue:
        url = self._place.redis_url
        storage = None if url.startswith("tq://") else CountingStorage(url, self._history)
        return await self._stack.enter_async_context(
            AsyncQueue(self._place.name, url, self._place.amqp_url, storage=storage, timeout=ADD_SECONDS)
        )

    async def _start_worker(self) -> None:
        worker = (await self._queue()).create_worker(WorkerOptions(concurrency=8))
        worker.process_async("plain", self._plain)
        worker.process_async("flaky", self._fail_once)
        self._workers.append((worker, asyncio.create_task(worker.run())))

    async def _stop_worker(self, worker: tuple[AsyncWorker, asyncio.Task[None]]) -> None:
        worker[0].close()
        await worker[1]
        metrics = worker[0].get_metrics()
        for name in ("completed", "retried", "set_aside", "duplicates", "reconnects", "handed_back"):
            self._history.counts[name] += getattr(metrics, name)

    async def _produce(self, queue: AsyncQueue) -> None:
        while not self._stopping.is_set():
            kind = self._rng.choice(("plain", "plain", "flaky", "late"))
            options = JobOptions(
                delay=0.3 if kind == "late" else None,
                backoff=QUICK,
                max_retries=20,
                priority=self._rng.choice((50, 150, 200)),
            )
            job_id = str(uuid.uuid4())
            try:
                await queue.add("plain" if kind == "late" else kind, job_id, options, job_id=job_id)
            except TqError as error:
                self._history.counts[f"adds {error.outcome.value}"] += 1
            else:
                self._history.acknowledged.append(job_id)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _plain(self, data: Any) -> None:
        self._history.runs[data] += 1
        await asyncio.sleep(self._rng.uniform(0, 0.05))

    async def _fail_once(self, data: Any) -> None:
        self._history.runs[data] += 1
        if data not in self._flaky:
            self._flaky.add(data)
            raise RuntimeError("the first time")


async def judge(place: Place, history: History) -> None:
    """Wait until everything acknowledged has completed, then look at how often."""
    async with place.queue(timeout=ADD_SECONDS) as queue:
        open_ids = set(history.acknowledged)
        deadline = asyncio.get_running_loop().time() + SETTLED_SECONDS_MAX
        while open_ids and asyncio.get_running_loop().time() < deadline:
            for job_id in list(open_ids):
                if await asking(lambda job_id=job_id: queue.get_job_status(job_id)) is JobStatus.COMPLETED:  # type: ignore[misc]
                    open_ids.discard(job_id)
            await asyncio.sleep(0.1)
        for job_id in open_ids:
            job = await queue.get_job(job_id)
            history.violations.append(f"{job_id} was acknowledged and is {job}")
    if place.redis_url.startswith("tq://"):
        await count_broker_completions(place, history)
    for job_id, times in history.completions.items():
        if times > 1:
            history.violations.append(f"{job_id} was completed {times} times in the record")


async def asking(ask: Callable[[], Awaitable[object]]) -> object:
    """None while the store cannot be asked."""
    try:
        return await ask()
    except TqError:
        return None


async def count_broker_completions(place: Place, history: History) -> None:
    async with AsyncClient(place.redis_url) as client:
        for job_id in history.acknowledged:
            task = await client.get_task(job_id)
            history.completions[job_id] = sum(attempt.cause == Cause.DONE for attempt in task.attempts)
