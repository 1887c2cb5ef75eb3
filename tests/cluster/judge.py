"""What must be true when the faults have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.cluster.history import History
from tests.cluster.register import Register
from tests.cluster.workloads import QUEUE
from tq import AsyncClient, ids
from tq.errors import TaskNotFound
from tq.task import Cause, State, TaskView
from tq.verbs import GetStats, GetTask, Stats

IN_FLIGHT = 500
DRAIN_SECONDS_MAX = 90.0
POLL_SECONDS = 0.1
LEFT_MAX = 3
"""Tasks of each state that are named when a queue does not empty."""
QUARANTINED = "crashed or lost its worker"


async def judge(addresses: str, history: History, register: Register) -> None:
    """Wait until the queue is empty, then compare every task; what is wrong goes to `history.violations`."""
    async with AsyncClient(addresses, timeout=DRAIN_SECONDS_MAX) as client:
        if not await _drained(client):
            left = await _left(client)
            history.violated(
                f"queue {QUEUE!r} was not empty {DRAIN_SECONDS_MAX:.0f} s after the last fault: {left}"
            )
            return
        views = await _views(client, [*history.acknowledged, *history.doubtful, *history.refused])
    for task_id in history.acknowledged - views.keys():
        history.violated(f"task {task_id.hex()} was acknowledged and is lost")
    for task_id in history.refused & views.keys():
        history.violated(f"task {task_id.hex()} exists, and its submit was said not to have happened")
    for batch in history.doubtful_batches:
        kept = sum(task_id in views for task_id in batch)
        if 0 < kept < len(batch):
            history.violated(f"of a batch of {len(batch)} tasks {kept} exist: all or none was promised")
    history.counts["unknown outcomes that had happened"] = len(history.doubtful & views.keys())
    for view in views.values():
        _judge_task(view, history, register)


def _judge_task(view: TaskView, history: History, register: Register) -> None:
    """It has ended, once, and the newest lease had the last word, in here and outside."""
    text = ids.to_text(view.task_id)
    if view.state == State.DEAD_LETTER and QUARANTINED in view.state_reason:
        history.counts["tasks quarantined for losing their worker again and again"] += 1
        return
    if view.state != State.COMPLETED:
        history.violated(f"task {text} is {view.status} ({view.state_reason}), should be completed")
        return
    if sum(attempt.cause == Cause.DONE for attempt in view.attempts) != 1:
        history.violated(f"task {text} has a history of other than one completion: {view.attempts}")
    written = register.tokens.get(text)
    if view.result != b"%d" % (written or 0):
        history.violated(f"task {text} ended with the token {view.result!r}, the register has {written}")
    history.counts["executions that ended otherwise"] += len(view.attempts) - 1


async def _drained(client: AsyncClient) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS_MAX
    while loop.time() < deadline:
        stats = await client.call(GetStats())
        assert isinstance(stats, Stats), stats
        if not any(
            each.pending + each.in_progress + each.scheduled + each.blocked + each.retrying
            for each in stats.queues
            if each.queue == QUEUE
        ):
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _left(client: AsyncClient) -> str:
    """The oldest of what has not ended, and who is there to do it."""
    live = [
        task
        for status in ("pending", "in_progress", "failed", "scheduled", "blocked")
        for task in (await client.list_tasks(status=status, queue=QUEUE, limit=LEFT_MAX)).tasks
    ]
    workers = await client.workers()
    return f"{[(task.task_id, task.status, task.state_reason) for task in live]}, workers {workers}"


async def _views(client: AsyncClient, task_ids: Sequence[bytes]) -> dict[bytes, TaskView]:
    """task id -> view, of those that exist."""
    found: dict[bytes, TaskView] = {}
    for first in range(0, len(task_ids), IN_FLIGHT):
        asked = [client.call(GetTask(task_id)) for task_id in task_ids[first : first + IN_FLIGHT]]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, TaskView):
                found[answer.task_id] = answer
            elif not isinstance(answer, TaskNotFound):
                raise AssertionError(f"asking for a task was answered with {answer!r}")
    return found
