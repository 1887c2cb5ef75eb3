"""What clients do while the cluster breaks: submit, ask, and see how soon it works again."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict

from tests.cluster.history import History
from tq import AsyncClient, ids
from tq.errors import Outcome, TaskNotFound, TqError
from tq.task import TaskSpec, TaskView
from tq.verbs import GetTask

QUEUE, TASK_TYPE = "chaos", "fenced"
BATCH_TASKS_MAX = 20
WORK_MS_MAX = 60
MAX_RETRIES = 100
"""Lost leases are the business of this campaign; running out of attempts is not."""
HEAVY_BATCH_BYTES, HEAVY_TASKS = 1024**2, 8
CALL_SECONDS = 6.0
"""Longer than an election, shorter than most faults: some calls must end unknown."""
KEEPALIVE_SECONDS = 2.0
RECOVERY_SECONDS_MAX = 45.0
LINEARIZABLE = 2
WATCHED_MAX = 2_000
"""Tasks whose reads are compared; the oldest are forgotten."""


class Workloads:
    """Everything that talks to the cluster as clients do. pause: seconds between two submits of one submitter."""

    def __init__(self, addresses: str, history: History, rng: random.Random, *, pause: float) -> None:
        self._addresses = addresses
        self._history = history
        self._rng = rng
        self._pause = pause
        self._watched: OrderedDict[bytes, TaskView | None] = OrderedDict()
        self._stop = asyncio.Event()

    def client(self) -> AsyncClient:
        return AsyncClient(self._addresses, timeout=CALL_SECONDS, keepalive=KEEPALIVE_SECONDS)

    async def run(self, *, submitters: int) -> None:
        """Until `stop`; what has begun by then is ended."""
        rngs = [random.Random(self._rng.random()) for _ in range(submitters + 1)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_on(rngs.pop()))
            for rng in rngs:
                group.create_task(self._submit_on(rng))

    def stop(self) -> None:
        self._stop.set()

    async def recovered(self, client: AsyncClient) -> float | None:
        """Seconds until a submit that begins now, or one after it, is acknowledged; None = it took too long."""
        start = time.perf_counter()
        while (waited := time.perf_counter() - start) < RECOVERY_SECONDS_MAX:
            if await self._submit(client, (_task(self._rng),)):
                return time.perf_counter() - start
            if time.perf_counter() - start - waited < 0.01:
                await asyncio.sleep(0.01)
        return None

    async def weigh_down(self, total_bytes: int) -> None:
        """Submit tasks with so many bytes of payload in all, or as many as are taken in time."""
        async with self.client() as client:
            for _ in range(total_bytes // HEAVY_BATCH_BYTES):
                tasks = tuple(
                    _task(self._rng, size=HEAVY_BATCH_BYTES // HEAVY_TASKS) for _ in range(HEAVY_TASKS)
                )
                await self._submit(client, tasks)

    # ------------------------------------------------------------ submitting

    async def _submit_on(self, rng: random.Random) -> None:
        async with self.client() as client:
            while not self._stop.is_set():
                size = rng.randint(2, BATCH_TASKS_MAX) if rng.random() < 0.2 else 1
                await self._submit(client, tuple(_task(rng) for _ in range(size)))
                await asyncio.sleep(self._pause)

    async def _submit(self, client: AsyncClient, tasks: tuple[TaskSpec, ...]) -> bool:
        """Whether it was acknowledged. The client repeats what is safe to repeat; what it then says is final."""
        task_ids = [task.task_id for task in tasks]
        try:
            answered = await client.submit_tasks(tasks)
        except TqError as error:
            self._failed(task_ids, error)
            return False
        if answered != [ids.to_text(task_id) for task_id in task_ids]:
            self._history.violated(f"a submit of {task_ids} was answered with {answered}")
        self._history.acknowledged.update(task_ids)
        self._watched.update(dict.fromkeys(task_ids))
        while len(self._watched) > WATCHED_MAX:
            self._watched.popitem(last=False)
        return True

    def _failed(self, task_ids: list[bytes], error: TqError) -> None:
        history = self._history
        if error.outcome is Outcome.UNKNOWN:
            history.counts["unknown outcomes"] += 1
            history.doubtful.update(task_ids)
            history.doubtful_batches.append(tuple(task_ids))
        else:
            history.counts[f"submits that did not happen ({error.code})"] += 1
            history.refused.update(task_ids)

    # ------------------------------------------------------------ reading

    async def _read_on(self, rng: random.Random) -> None:
        async with self.client() as client:
            while not self._stop.is_set():
                await asyncio.sleep(self._pause)
                if self._watched:
                    await self._read(client, rng.choice(list(self._watched)))

    async def _read(self, client: AsyncClient, task_id: bytes) -> None:
        """What was acknowledged is there, and time does not go back: attempts grow, an end is final."""
        before = self._watched.get(task_id)
        try:
            view = await client.call(GetTask(task_id, consistency=LINEARIZABLE))
        except TaskNotFound:
            self._history.violated(f"task {task_id.hex()} was acknowledged, and then a read did not find it")
            return
        except TqError:
            self._history.counts["reads without an answer"] += 1
            return
        assert isinstance(view, TaskView), view
        self._history.counts["status reads"] += 1
        if before is not None and _goes_back(before, view):
            self._history.violated(
                f"task {task_id.hex()} was read as {before.status} with {len(before.attempts)} attempts, "
                f"then as {view.status} with {len(view.attempts)}"
            )
        if task_id in self._watched:
            self._watched[task_id] = view


def _goes_back(before: TaskView, after: TaskView) -> bool:
    if before.has_ended:
        return after.state != before.state or after.result != before.result
    return len(after.attempts) < len(before.attempts)


def _task(rng: random.Random, *, size: int = 0) -> TaskSpec:
    """size: of the payload, at least about."""
    payload = b"%d " % rng.randint(0, WORK_MS_MAX) + bytes(size)
    return TaskSpec(ids.new_id(), TASK_TYPE, payload, queue=QUEUE, max_retries=MAX_RETRIES)
