"""What judges of every campaign ask when the faults have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TypeAlias

from tq.errors import TaskNotFound
from tq.task import TaskView
from tq.verbs import GetStats, GetTask, Reply, Request, Stats

IN_FLIGHT = 500
POLL_SECONDS = 0.05

Ask: TypeAlias = Callable[[Request], Awaitable[Reply]]
"""A client's way of asking; raises what the request was answered with."""


async def drained(ask: Ask, queue: str, seconds: float) -> bool:
    """Whether everything in this queue ended in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        stats = await ask(GetStats())
        assert isinstance(stats, Stats), stats
        if not any(
            each.pending + each.in_progress + each.scheduled + each.blocked + each.retrying
            for each in stats.queues
            if each.queue == queue
        ):
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def views_of(ask: Ask, task_ids: Sequence[bytes]) -> dict[bytes, TaskView]:
    """task id -> view, of those that exist. Raises AssertionError for any answer but a view or *not found*."""
    found: dict[bytes, TaskView] = {}
    for first in range(0, len(task_ids), IN_FLIGHT):
        asked = [ask(GetTask(task_id)) for task_id in task_ids[first : first + IN_FLIGHT]]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, TaskView):
                found[answer.task_id] = answer
            elif not isinstance(answer, TaskNotFound):
                raise AssertionError(f"asking for a task was answered with {answer!r}")
    return found


def torn(batches: Iterable[Sequence[bytes]], existing: Collection[bytes]) -> list[str]:
    """What is wrong with batches of which some tasks exist and some do not."""
    kept = ((len(batch), sum(task_id in existing for task_id in batch)) for batch in batches)
    return [
        f"of a batch of {size} tasks {count} exist: all or none was promised"
        for size, count in kept
        if 0 < count < size
    ]
