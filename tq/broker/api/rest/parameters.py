"""Parameters in paths and queries: strict, and unknown ones refused, like the fields of bodies."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tq import ids
from tq.broker.api.rest.kinds import Name, NameOrNone
from tq.broker.api.rest.schemas import Status
from tq.errors import BadRequest
from tq.protocol.limits import PAGE_OFFSET_MAX, PAGE_TASKS_MAX

WAIT_S_MAX = 60
"""A longer wait is asked again, so that proxies in between do not give up first."""
UUID_CHARS_MAX = 36


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


Flag: TypeAlias = Annotated[bool, BeforeValidator(_strict_flag), WithJsonSchema({"type": "boolean"})]
DIGITS = BeforeValidator(_strict_number)
"""Stands behind a number's bounds: in front of them pydantic would leave them out of OpenAPI."""
TaskIdPath: TypeAlias = Annotated[
    str, Path(description="A UUID."), WithJsonSchema({"type": "string", "format": "uuid"})
]
QueuePath: TypeAlias = Annotated[Name, Path(description="The queue's name.")]


class NoQuery(BaseModel):
    """No parameters at all."""

    model_config = ConfigDict(extra="forbid")


class ForceFlag(NoQuery):
    force: Annotated[Flag, Field(description="Cancel it even while it runs.")] = False


class OneTask(NoQuery):
    wait: Annotated[
        int, Field(ge=0, le=WAIT_S_MAX, description="Seconds to wait for the task to end."), DIGITS
    ] = 0
    with_payload: Annotated[Flag, Field(description="Show the payload, too.")] = False


class Page(NoQuery):
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


def task_id_of(text: str) -> bytes:
    """A task id in a path. Raises BadRequest."""
    if len(text) > UUID_CHARS_MAX:
        raise BadRequest("task_id: is longer than a UUID")
    try:
        return ids.from_text(text)
    except BadRequest:
        raise BadRequest("task_id: should be a UUID") from None
