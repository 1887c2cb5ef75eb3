"""Calls that make tasks and change them: submit, one or many, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tq import documents, ids
from tq.broker.api.rest.answers import SubmittedTask, SubmittedTasks, TaskStatus
from tq.broker.api.rest.bodies import SUBMIT_BODY_BYTES_MAX, Bodies, check_media_type, parsed
from tq.broker.api.rest.errors import json_response
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.openapi import NO_IDS, described, shown
from tq.broker.api.rest.parameters import ForceFlag, NoQuery, TaskIdPath, task_id_of
from tq.broker.api.rest.schemas import NewTask, NewTasks, RetryBody
from tq.broker.api.rest.specs import task_specs
from tq.errors import InvalidStatus, TaskNotFound
from tq.spans import carried
from tq.task import STATUS_OF_STATE, TaskSpec
from tq.trace_context import TRACEPARENT, TRACESTATE
from tq.verbs import Cancel, Retry, Submit, Submitted, TaskRef


class Submits:
    """The two calls that carry the traffic. Handlers of plain requests: see `front` for why."""

    def __init__(self, gate: Gate, bodies: Bodies, new_id: Callable[[], bytes]) -> None:
        self._gate = gate
        self._bodies = bodies
        self._new_id = new_id

    async def one(self, request: Request) -> Response:
        """Put one task on its queue. 200 instead of 201: a task with this id, or unique key, was there already."""
        caller = await self._gate.permit(request, Submit)
        async with self._bodies.read(request, SUBMIT_BODY_BYTES_MAX) as body:
            check_media_type(request)
            tasks = task_specs([parsed(NewTask, body)], self._new_id, place="")
            done = await self._gate.send(caller, Submit(_traced(tasks, request)), Submitted)
        task_id, created_ms = tasks[0].task_id, done.created_ms
        if done.existing:
            task_id, created_ms = done.existing[0].task_id, done.existing[0].created_ms
        document = documents.of_submitted(task_id, done.states[0], created_ms)
        headers = {"Location": f"/api/v1/tasks/{ids.to_text(task_id)}"}
        return json_response(document, 200 if done.existing else 201, headers)

    async def many(self, request: Request) -> Response:
        """Put up to 1,000 tasks on their queues, all or none. 200 instead of 201: all of them were there already."""
        caller = await self._gate.permit(request, Submit)
        async with self._bodies.read(request, SUBMIT_BODY_BYTES_MAX) as body:
            check_media_type(request)
            tasks = task_specs(parsed(NewTasks, body).tasks, self._new_id)
            done = await self._gate.send(caller, Submit(_traced(tasks, request)), Submitted)
        document = {
            "task_ids": _ids_of(tasks, done),
            "existing": [existing.position for existing in done.existing],
        }
        return json_response(document, 200 if len(done.existing) == len(tasks) else 201)


def _traced(tasks: tuple[TaskSpec, ...], request: Request) -> tuple[TaskSpec, ...]:
    """The tasks with the trace context of the request in their metadata."""
    headers = request.headers
    return carried(tasks, headers.get(TRACEPARENT), ",".join(headers.getlist(TRACESTATE)))


def add_tasks(router: APIRouter, gate: Gate, bodies: Bodies, submits: Submits) -> None:
    one = described(Submit, answer=SubmittedTask, status=201, text="Submitted", body=NewTask)
    one["responses"][200] = shown("It existed", SubmittedTask)
    router.post("/tasks", **one)(submits.one)
    many = described(Submit, answer=SubmittedTasks, status=201, text="All submitted", body=NewTasks)
    many["responses"][200] = shown("All of them existed", SubmittedTasks)
    router.post("/tasks/batch", **many)(submits.many)

    @router.delete(
        "/tasks/{task_id}", **described(Cancel, TaskNotFound, InvalidStatus, status=204, also=NO_IDS)
    )
    async def cancel(request: Request, task_id: TaskIdPath, query: Annotated[ForceFlag, Query()]) -> Response:
        """End a task that waits; with force, one that runs too."""
        await gate.ask(request, Cancel(task_id_of(task_id), query.force), TaskRef)
        return Response(status_code=204)

    @router.post(
        "/tasks/{task_id}/retry",
        **described(
            Retry, TaskNotFound, InvalidStatus, answer=TaskStatus, body=RetryBody, body_required=False
        ),
    )
    async def retry(request: Request, task_id: TaskIdPath, query: Annotated[NoQuery, Query()]) -> Response:
        """Bring a dead-lettered or cancelled task back, its counters at zero."""
        caller = await gate.permit(request, Retry)
        found = task_id_of(task_id)
        body = await bodies.model(request, RetryBody)
        most = -1 if body.max_retries is None else body.max_retries
        ref = await gate.send(caller, Retry(found, most), TaskRef)
        return json_response({"task_id": ids.to_text(ref.task_id), "status": STATUS_OF_STATE[ref.state]})


def _ids_of(tasks: tuple[TaskSpec, ...], done: Submitted) -> list[str]:
    """In the order of the request; one that existed under another id, by its unique key, has that one's."""
    found = [task.task_id for task in tasks]
    for existing in done.existing:
        found[existing.position] = existing.task_id
    return [ids.to_text(task_id) for task_id in found]
