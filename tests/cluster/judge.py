"""What must be true when the faults have ended."""

from __future__ import annotations

from lab.judging import drained, torn, views_of
from tests.cluster.history import History
from tests.cluster.register import Register
from tests.cluster.workloads import QUEUE
from tq import AsyncClient, ids
from tq.task import Cause, State, TaskView

DRAIN_SECONDS_MAX = 90.0
LEFT_MAX = 3
"""Tasks of each state that are named when a queue does not empty."""
QUARANTINED = "crashed or lost its worker"


async def judge(addresses: str, history: History, register: Register) -> None:
    """Wait until the queue is empty, then compare every task; what is wrong goes to `history.violations`."""
    async with AsyncClient(addresses, timeout=DRAIN_SECONDS_MAX) as client:
        if not await drained(client.call, QUEUE, DRAIN_SECONDS_MAX):
            left = await _left(client)
            history.violated(
                f"queue {QUEUE!r} was not empty {DRAIN_SECONDS_MAX:.0f} s after the last fault: {left}"
            )
            return
        views = await views_of(client.call, [*history.acknowledged, *history.doubtful, *history.refused])
    for task_id in history.acknowledged - views.keys():
        history.violated(f"task {task_id.hex()} was acknowledged and is lost")
    for task_id in history.refused & views.keys():
        history.violated(f"task {task_id.hex()} exists, and its submit was said not to have happened")
    for violation in torn(history.doubtful_batches, views):
        history.violated(violation)
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


async def _left(client: AsyncClient) -> str:
    """The oldest of what has not ended, and who is there to do it."""
    live = [
        task
        for status in ("pending", "in_progress", "failed", "scheduled", "blocked")
        for task in (await client.list_tasks(status=status, queue=QUEUE, limit=LEFT_MAX)).tasks
    ]
    workers = await client.workers()
    return f"{[(task.task_id, task.status, task.state_reason) for task in live]}, workers {workers}"
