"""What is wrong with a request, all of it; and the wire's checks for requests that did not come over the wire.

Reading stops at the first fault, because most requests have none. Only when there is one is the request gone through
again, part by part, so that its sender learns of every wrong field at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar, cast

from tq.errors import BadRequest, TqError
from tq.protocol.fields import Compound, Fault, Field
from tq.protocol.requests import REQUESTS, TASKS
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
    except Fault:
        raise refusal(record, request) from None


def check_tasks(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    """The same for the tasks of one submit, at most `limits.BATCH_ITEMS_MAX`; faults as in `tasks[3].priority: ...`.

    An id may stand twice only if the whole task does.
    """
    try:
        return cast("tuple[TaskSpec, ...]", TASKS.read(tasks))
    except Fault:
        raise refusal(TASKS, tasks, inside="tasks") from None


def refusal(field: Field, value: object, *, inside: str = "") -> TqError:
    """The error for a value that the field does not read; it names every part that is wrong, FAULTS_SHOWN_MAX at most."""
    errors = [fault.inside(inside).error() for fault in islice(_faults(field, value), FAULTS_SHOWN_MAX)]
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else BadRequest
    return kind("; ".join(error.text for error in errors))


def _faults(field: Field, value: object) -> Iterator[Fault]:
    """Of its parts; when those are sound each for itself, of the whole."""
    try:
        field.read(value)
    except Fault as fault:
        whole = fault
    else:
        return
    is_whole = True
    if isinstance(field, Compound):
        for place, part, held in field.parts(value):
            for inner in _faults(part, held):
                is_whole = False
                yield inner.inside(place)
    if is_whole:
        yield whole
