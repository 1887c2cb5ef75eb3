"""What the broker sends without being asked."""

from __future__ import annotations

from typing import NamedTuple

from tq.task import TaskView
from tq.verbs.replies import Delivery


class Deliver(NamedTuple):
    """Tasks for this worker, against its capacity."""

    tasks: tuple[Delivery, ...]


class Abort(NamedTuple):
    """Stop these attempts: (task_id, token, reason). Settle each with Cause.CANCELLED when its slot is free."""

    items: tuple[tuple[bytes, int, str], ...]


class TaskEnded(NamedTuple):
    """Watched tasks that ended, with results."""

    tasks: tuple[TaskView, ...]


class Draining(NamedTuple):
    """This broker is stopping: finish, and look for another node or try again after retry_after_ms."""

    retry_after_ms: int
    reason: str = ""


class Drain(NamedTuple):
    """Somebody drains this worker: take nothing more, finish what runs, hand back the rest, deregister and go."""

    reason: str = ""
