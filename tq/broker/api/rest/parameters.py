"""Parameters in paths and queries: strict, and unknown ones refused, like the fields of bodies."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from starlette.requests import HTTPConnection

from tq import ids
from tq.broker.api.rest.kinds import Fingerprint, Name, NameOrNone
from tq.broker.api.rest.schemas import Status
from tq.errors import BadRequest
from tq.protocol.limits import FAILURES_MAX, PAGE_OFFSET_MAX, PAGE_TASKS_MAX
from tq.verbs import LEADER, LINEARIZABLE, LOCAL

WAIT_S_MAX = 60
"""A longer wait is asked again, so that proxies in between do not give up first."""
UUID_CHARS_MAX = 36
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


def _strict_flag(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("should be true or false")


def _strict_number(value: object) -> object:
    """Digits only: pydantic would take ` 5 `, `5.0` and `1_000` too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, int):
        return value
    raise ValueError("should be a whole number, in digits")


def _strict_seconds(value: object) -> object:
    """Digits, and a fraction if need be: pydantic would take `1e3`, `inf` and ` 5 ` too."""
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        return float(value)
    if isinstance(value, int | float):
        return value
    raise ValueError("should be a number of seconds, in digits")


Flag: TypeAlias = Annotated[bool, BeforeValidator(_strict_flag), WithJsonSchema({"type": "boolean"})]
DIGITS = BeforeValidator(_strict_number)
"""Stands behind a number's bounds: in front of them pydantic would leave them out of OpenAPI."""
TaskIdPath: TypeAlias = Annotated[
    str, Path(description="A UUID."), WithJsonSchema({"type": "string", "format": "uuid"})
]
WorkerPath: TypeAlias = Annotated[Name, Path(description="A worker's id, or one of its sessions'.")]
QueuePath: TypeAlias = Annotated[Name, Path(description="The queue's name.")]


class NoQuery(BaseModel):
    """No parameters at all."""

    model_config = ConfigDict(extra="forbid")


Q = TypeVar("Q", bound=NoQuery)


class ForceFlag(NoQuery):
    force: Annotated[Flag, Field(description="Cancel it even while it runs.")] = False


CONSISTENCIES = {"local": LOCAL, "leader": LEADER, "linearizable": LINEARIZABLE}


class Reading(NoQuery):
    consistency: Annotated[
        Literal["local", "leader", "linearizable"],
        Field(
            description="Whose word it takes in a cluster: this node's, perhaps late; the leader's; the leader's once a "
            "majority has confirmed that it still leads."
        ),
    ] = "leader"

    @property
    def level(self) -> int:
        return CONSISTENCIES[self.consistency]


class OneTask(Reading):
    wait: Annotated[
        float,
        Field(ge=0, le=WAIT_S_MAX, description="Seconds to wait for the task to end."),
        BeforeValidator(_strict_seconds),
    ] = 0
    with_payload: Annotated[Flag, Field(description="Show the payload, too.")] = False
    with_result: Annotated[Flag, Field(description="Show the result; result_bytes is shown anyway.")] = True


class Page(Reading):
    status: Annotated[Status | None, Field(description="Only tasks of this status.")] = None
    task_type: Annotated[NameOrNone, Field(description="Only of this type.")] = ""
    queue: Annotated[NameOrNone, Field(description="Only of this queue.")] = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_TASKS_MAX), DIGITS] = 100
    offset: Annotated[
        int,
        Field(ge=0, le=PAGE_OFFSET_MAX, description="How many to skip; a cursor is cheaper."),
        DIGITS,
    ] = 0
    cursor: Annotated[
        str | None,
        Field(
            pattern=r"^[1-9][0-9]{0,17}$",
            description="A page's next_cursor: the page after it, whatever has moved meanwhile.",
        ),
    ] = None

    worker_id: Annotated[NameOrNone, Field(description="Only what this worker runs.")] = ""
    fingerprint: Annotated[
        Fingerprint,
        Field(
            description="Only dead letters of this group; a page may be short though there is a next_cursor."
        ),
    ] = ""
    order: Annotated[
        Literal["newest", "oldest"], Field(description="By submission; a fingerprint's are newest first.")
    ] = "newest"
    with_result: Annotated[Flag, Field(description="Show results.")] = True


class NewestFailures(NoQuery):
    limit: Annotated[int, Field(ge=1, le=FAILURES_MAX), DIGITS] = 50


class OfKind(NoQuery):
    task_type: Annotated[NameOrNone, Field(description="Only of this type.")] = ""
    queue: Annotated[NameOrNone, Field(description="Only of this queue.")] = ""


def parameters_of(request: HTTPConnection, kind: type[Q]) -> Q | None:
    """The parameters of a query, as FastAPI takes them; None for those that it refuses, or that stand twice."""
    found = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    named = dict(found)
    if len(named) < len(found):
        return None
    try:
        return kind.model_validate(named)
    except ValidationError:
        return None


def task_id_of(text: str) -> bytes:
    """A task id in a path. Raises BadRequest."""
    if len(text) > UUID_CHARS_MAX:
        raise BadRequest("task_id: is longer than a UUID")
    try:
        return ids.from_text(text)
    except BadRequest:
        raise BadRequest("task_id: should be a UUID") from None
