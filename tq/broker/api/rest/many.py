"""Calls that change many tasks, a step at a time: cancel, retry, delete."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tq import documents
from tq.broker.api.rest.answers import ChangedTasks
from tq.broker.api.rest.bodies import Bodies
from tq.broker.api.rest.errors import json_response
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.openapi import described
from tq.broker.api.rest.parameters import NoQuery
from tq.broker.api.rest.schemas import CancelManyBody, DeleteManyBody, ManyBody, RetryManyBody
from tq.errors import BadRequest
from tq.task import STATE_OF_STATUS
from tq.verbs import CancelMany, Changed, ForgetMany, RetryMany


def add_many(router: APIRouter, gate: Gate, bodies: Bodies) -> None:

    @router.post("/tasks/bulk/cancel", **_step(CancelMany, CancelManyBody))
    async def cancel(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Cancel tasks; with force, running ones too. Without a status: all that have not ended."""
        caller = await gate.permit(request, CancelMany)
        body = await bodies.model(request, CancelManyBody)
        if _fingerprint(body):
            raise BadRequest("filter.fingerprint: is of dead letters, which have ended; retry or delete them")
        verb = CancelMany(**_chosen(body), force=body.force)
        return json_response(documents.of_changed(await gate.send(caller, verb, Changed)))

    @router.post("/tasks/bulk/retry", **_step(RetryMany, RetryManyBody))
    async def retry(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Put tasks back to pending. Without a status: dead letters and cancelled ones."""
        caller = await gate.permit(request, RetryMany)
        body = await bodies.model(request, RetryManyBody)
        max_retries = -1 if body.max_retries is None else body.max_retries
        verb = RetryMany(**_chosen(body), fingerprint=_fingerprint(body), max_retries=max_retries)
        return json_response(documents.of_changed(await gate.send(caller, verb, Changed)))

    @router.post("/tasks/bulk/delete", **_step(ForgetMany, DeleteManyBody))
    async def delete(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Forget ended tasks for good. Without a status: all that have ended."""
        caller = await gate.permit(request, ForgetMany)
        body = await bodies.model(request, DeleteManyBody)
        verb = ForgetMany(**_chosen(body), fingerprint=_fingerprint(body))
        return json_response(documents.of_changed(await gate.send(caller, verb, Changed)))


class _Chosen(TypedDict):
    task_ids: tuple[bytes, ...]
    state: int
    task_type: str
    queue: str
    limit: int
    cursor: int


def _chosen(body: ManyBody) -> _Chosen:
    """Which tasks, as the three verbs have it. Raises BadRequest unless it is said in exactly one way."""
    if bool(body.task_ids) == (body.filter is not None):
        raise BadRequest("task_ids: or filter says which tasks; give one of them, {} for all that may be")
    status = body.filter.status if body.filter else None
    return {
        "task_ids": tuple(dict.fromkeys(body.task_ids)),
        "state": STATE_OF_STATUS[status] if status else 0,
        "task_type": body.filter.task_type if body.filter else "",
        "queue": body.filter.queue if body.filter else "",
        "limit": body.limit,
        "cursor": int(body.cursor or 0),
    }


def _fingerprint(body: ManyBody) -> str:
    return body.filter.fingerprint if body.filter else ""


def _step(
    verb: type[CancelMany] | type[RetryMany] | type[ForgetMany], body: type[ManyBody]
) -> dict[str, Any]:
    return described(verb, answer=ChangedTasks, text="A step; go on at next_cursor", body=body)
