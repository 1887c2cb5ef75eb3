"""What must be true when the killing has stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from lab.judging import Ask, drained, torn, views_of
from tests.crash.exact_worker import ExactWorker
from tests.crash.history import History
from tests.crash.line import REQUEST_SECONDS_MAX
from tests.crash.load import ORDERED, WORK
from tq.client.link import Link
from tq.task import Cause, State, TaskView
from tq.verbs import Reply, Request

DRAIN_SECONDS_MAX = 120.0
EXPECTED = {
    "echo": State.COMPLETED,
    "exact": State.COMPLETED,
    "flaky": State.COMPLETED,
    "timed": State.COMPLETED,
    "ordered": State.PENDING,
    "held": State.PENDING,
}


async def judge(address: str, history: History) -> None:
    """Wait until the served queue is empty, then compare; what is wrong goes to `history.violations`."""
    link = await Link.open(address)

    def ask(request: Request) -> Awaitable[Reply]:
        return link.request(request, asyncio.get_running_loop().time() + REQUEST_SECONDS_MAX)

    try:
        if await drained(ask, WORK, DRAIN_SECONDS_MAX):
            await _compare(ask, history)
            await _drain_in_order(address, history)
        else:
            history.violated(f"queue {WORK!r} was not empty {DRAIN_SECONDS_MAX:.0f} s after the last restart")
    finally:
        link.close()


async def _compare(ask: Ask, history: History) -> None:
    types = history.doubtful | history.acknowledged
    views = await views_of(ask, list(types))
    for task_id, task_type in types.items():
        view = views.get(task_id)
        if view is not None:
            _judge_task(view, task_type, history)
        elif task_id in history.acknowledged:
            history.violated(f"{task_type} task {task_id.hex()} was acknowledged and is lost")
    for violation in torn(history.doubtful_batches, views):
        history.violated(violation)


def _judge_task(view: TaskView, task_type: str, history: History) -> None:
    name = f"{task_type} task {view.task_id.hex()}"
    if view.state != EXPECTED[task_type]:
        history.violated(
            f"{name} is {view.status} ({view.state_reason}), should be {EXPECTED[task_type].name}"
        )
        return
    if EXPECTED[task_type] is not State.COMPLETED:
        return
    if sum(attempt.cause == Cause.DONE for attempt in view.attempts) != 1:
        history.violated(f"{name} has a history of other than one completion: {view.attempts}")
    result = history.completed.get(view.task_id, view.task_id if task_type == "echo" else view.result)
    if view.result != result:
        history.violated(f"{name} has the result {view.result!r}, acknowledged was {result!r}")


async def _drain_in_order(address: str, history: History) -> None:
    """One slot empties the queue that nobody served: highest priority first, and first in first out inside one."""
    worker = ExactWorker(address, history, queue=ORDERED, task_types=("ordered",), capacity=1)
    stop = asyncio.Event()
    serving = asyncio.create_task(worker.run_until(stop))
    try:
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            await worker.has_been_handed(len(history.ordered))
    except TimeoutError:
        history.violated(f"queue {ORDERED!r} was not drained in {DRAIN_SECONDS_MAX:.0f} s")
    stop.set()
    await serving
    expected = [task_id for _, _, task_id in sorted(history.ordered)]
    delivered = [delivery.task_id for delivery in worker.deliveries]
    if delivered != expected:
        agree = next(
            (n for n, (a, b) in enumerate(zip(delivered, expected, strict=False)) if a != b), len(delivered)
        )
        history.violated(
            f"the ordered tasks came in another order from the {agree + 1}th on, of {len(expected)}"
        )
