"""Checks of requests that did not come over the wire: REST and gRPC hold what they built to the same bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from tq.protocol.fields import Fault
from tq.protocol.requests import REQUESTS, TASKS
from tq.task import TaskSpec
from tq.verbs import Request

R = TypeVar("R", bound=Request)


def check_request(request: R) -> R:
    """The request with every field checked: exactly what the wire would have let through.

    Subclasses of int become plain integers, lists become tuples, too long error texts are cut.
    Raises BadRequest that names the field, what it holds and what would be right, as in
    `tasks[3].priority: 300 is out of range; 0 to 255`; PayloadTooLarge for a payload or result.
    """
    try:
        return cast(R, REQUESTS[type(request)].read(request))
    except Fault as fault:
        raise fault.error() from None


def check_tasks(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    """The same for the tasks of one submit, at most `limits.BATCH_ITEMS_MAX`. Ids must differ."""
    try:
        return cast("tuple[TaskSpec, ...]", TASKS.read(tasks))
    except Fault as fault:
        raise fault.inside("tasks").error() from None
