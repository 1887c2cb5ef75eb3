"""Checks of requests that did not come over the wire: REST and gRPC hold what they built to the same bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from tq.errors import BadRequest, TqError
from tq.protocol.fields import Fault
from tq.protocol.records import Record
from tq.protocol.requests import NEW_TASK, REQUESTS, TASK, TASKS
from tq.task import TaskSpec
from tq.verbs import Request

FAULTS_SHOWN_MAX = 50
"""A request with more wrong fields than this is told the first ones."""

R = TypeVar("R", bound=Request)


def check_request(request: R) -> R:
    """The request with every field checked: exactly what the wire would have let through.

    Subclasses of int become plain integers, lists become tuples, too long error texts are cut.
    Raises BadRequest that names each wrong field, what it holds and what would be right, as in
    `limit: 2000 is out of range; 1 to 1000`; PayloadTooLarge when that is all that is wrong.
    """
    record = REQUESTS[type(request)]
    try:
        return cast(R, record.read(request))
    except Fault as fault:
        raise _told(_faults(record, request), fault) from None


def check_tasks(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    """The same for the tasks of one submit, at most `limits.BATCH_ITEMS_MAX`; faults as in `tasks[3].priority: ...`.

    An id may stand twice only if the whole task does.
    """
    try:
        return cast("tuple[TaskSpec, ...]", TASKS.read(tasks))
    except Fault as fault:
        raise _told(_faults_of_tasks(tasks), fault.inside("tasks")) from None


def _told(faults: Iterator[Fault], first: Fault) -> TqError:
    """One error for all of them. first: what was found before looking for more, when it is of the whole."""
    errors = [fault.error() for fault, _ in zip(faults, range(FAULTS_SHOWN_MAX), strict=False)] or [
        first.error()
    ]
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else BadRequest
    return kind("; ".join(error.text for error in errors))


def _faults(record: Record, row: Sequence[Any]) -> Iterator[Fault]:
    for name, field, value in zip(record.names, record.fields, row, strict=True):
        try:
            field.read(value)
        except Fault as fault:
            yield fault.inside(f".{name}")


def _faults_of_tasks(tasks: Sequence[TaskSpec]) -> Iterator[Fault]:
    for position, task in enumerate(tasks):
        is_sound = True
        for fault in _faults(TASK, task):
            is_sound = False
            yield fault.inside(f"tasks[{position}]")
        if is_sound:
            try:
                NEW_TASK.read(task)
            except Fault as fault:
                yield fault.inside(f"tasks[{position}]")
