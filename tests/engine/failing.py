"""Tasks that fail for good, for tests of what is shown of them."""

from __future__ import annotations

from tests.engine.harness import Engine
from tq.task import Cause, TaskSpec
from tq.verbs import Settle, SettleItem


async def fail(engine: Engine, *specs: TaskSpec, error: str = "it broke") -> list[bytes]:
    """Submit tasks and let a worker fail each for good."""
    ids = await engine.submit(*specs)
    worker = await engine.worker(capacity=len(ids), types=tuple(sorted({one.task_type for one in specs})))
    tasks = await worker.delivered(len(ids))
    items = tuple(
        SettleItem(task.task_id, task.token, int(Cause.FATAL), error=error.format(n))
        for n, task in enumerate(tasks)
    )
    await engine.call(Settle(items), worker)
    engine.backend.disconnected(worker)
    return ids
