"""The submitters: what is put on the queues while the broker is being killed, each in a loop until told to stop.

Task types: `echo` is served by real workers, `exact`, `flaky` and `timed` by the exact worker; `ordered` and `held`
are served by nobody until the end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from tests.crash.history import History
from tests.crash.line import Line
from tq import ids
from tq.errors import OutcomeUnknown
from tq.task import PRIORITY_MAX, TaskSpec
from tq.verbs import Reply, Submit, Submitted

WORK, ORDERED, HELD = "work", "ordered", "held"
BATCH_TASKS_MAX = 40
UNIQUE_KEYS_MAX = 200
AHEAD_MS_MAX = 4_000
GIVE_UP_SHARE = 0.2
"""Of the submits whose outcome is unknown so many are not repeated."""
PAUSE_SECONDS = 0.002
"""Between two submits of one submitter: the load is to keep the broker busy, not to fill the disk."""

Submitter = Callable[[Line, History, random.Random], Awaitable[None]]


async def one(line: Line, history: History, rng: random.Random) -> None:
    await _submit(line, history, rng, (_work_task(rng),))


async def batch(line: Line, history: History, rng: random.Random) -> None:
    tasks = tuple(_work_task(rng) for _ in range(rng.randint(2, BATCH_TASKS_MAX)))
    await _submit(line, history, rng, tasks)


async def timed(line: Line, history: History, rng: random.Random) -> None:
    due_ms = time.time_ns() // 1_000_000 + rng.randint(100, AHEAD_MS_MAX)
    task = TaskSpec(ids.new_id(), "timed", queue=WORK, schedule_at_ms=due_ms)
    history.due_ms[task.task_id] = due_ms
    await _submit(line, history, rng, (task,))


async def ordered(line: Line, history: History, rng: random.Random) -> None:
    """Never given up, and the next one only after the answer, so that the order is known."""
    task = TaskSpec(ids.new_id(), "ordered", queue=ORDERED, priority=rng.randint(0, PRIORITY_MAX))
    await line.insist(Submit((task,)))
    history.acknowledged[task.task_id] = task.task_type
    history.ordered.append((-task.priority, len(history.ordered), task.task_id))


async def unique(line: Line, history: History, rng: random.Random) -> None:
    """A key of a fixed few, each time with another id: the answer must be the task that has the key."""
    key = f"key-{rng.randrange(UNIQUE_KEYS_MAX)}"
    task = TaskSpec(ids.new_id(), "held", queue=HELD, unique_key=key)
    reply = _submitted(await line.insist(Submit((task,))))
    found = reply.existing[0].task_id if reply.existing else task.task_id
    if history.unique.setdefault(key, found) != found:
        history.violated(f"unique key {key} was {history.unique[key].hex()} and is {found.hex()}")
    history.acknowledged[found] = "held"


SUBMITTERS: tuple[Submitter, ...] = (one, one, batch, timed, ordered, unique)


async def submit_until(
    stop: asyncio.Event, submitter: Submitter, address: str, history: History, rng: random.Random
) -> None:
    """Run one submitter over and over. What it has begun when stop is set, it ends."""
    line = Line(address, history)
    while not stop.is_set():
        await submitter(line, history, rng)
        await asyncio.sleep(PAUSE_SECONDS)
    line.close()


def _work_task(rng: random.Random) -> TaskSpec:
    task_id = ids.new_id()
    task_type = rng.choice(("echo", "exact", "flaky"))
    return TaskSpec(task_id, task_type, task_id, queue=WORK, priority=rng.randint(0, PRIORITY_MAX))


async def _submit(line: Line, history: History, rng: random.Random, tasks: tuple[TaskSpec, ...]) -> None:
    give_up = rng.random() < GIVE_UP_SHARE
    types = {task.task_id: task.task_type for task in tasks}
    try:
        reply = _submitted(await line.insist(Submit(tasks), **({"unknown_max": 1} if give_up else {})))
    except OutcomeUnknown:
        history.counts["given up"] += len(tasks)
        history.doubtful |= types
        history.doubtful_batches.append(tuple(types))
        return
    if any(found.task_id not in types for found in reply.existing):
        history.violated(f"a submit of new ids was answered with other tasks: {reply.existing}")
    history.acknowledged |= types


def _submitted(reply: Reply) -> Submitted:
    assert isinstance(reply, Submitted), reply
    return reply
