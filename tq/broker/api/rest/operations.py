"""Calls of operators: what the broker holds and who works on it, pausing queues, forgetting tasks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tq import documents
from tq.broker.api.rest.answers import (
    PurgedTasks,
    QueuePaused,
    StatsShown,
    WorkerDrained,
    WorkerList,
)
from tq.broker.api.rest.bodies import Bodies
from tq.broker.api.rest.errors import json_response
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.openapi import described
from tq.broker.api.rest.parameters import NoQuery, QueuePath, Reading, WorkerPath
from tq.broker.api.rest.schemas import PauseBody, PurgeBody
from tq.errors import WorkerNotFound
from tq.protocol.validate import check_request
from tq.task import STATE_OF_STATUS
from tq.verbs import (
    Done,
    Drained,
    DrainWorker,
    GetStats,
    ListWorkers,
    PauseQueue,
    Purge,
    Purged,
    ResumeQueue,
    Stats,
    Workers,
)


def add_operations(router: APIRouter, gate: Gate, bodies: Bodies) -> None:

    @router.get("/stats", **described(GetStats, answer=StatsShown, text="Counts and ages"))
    async def stats(request: Request, query: Annotated[Reading, Query()]) -> Response:
        """Counts and ages, in all and queue by queue."""
        return json_response(documents.of_stats(await gate.ask(request, GetStats(query.level), Stats)))

    @router.get("/workers", **described(ListWorkers, answer=WorkerList, text="The workers"))
    async def workers(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """The workers this broker knows, with what they run."""
        return json_response(documents.of_workers(await gate.ask(request, ListWorkers(), Workers)))

    @router.post(
        "/workers/{worker}/drain",
        **described(DrainWorker, WorkerNotFound, answer=WorkerDrained, text="It is told"),
    )
    async def drain(request: Request, worker: WorkerPath, query: Annotated[NoQuery, Query()]) -> Response:
        """Hand a worker nothing more; it finishes what it runs and goes. All its sessions, or the one with this id."""
        found = await gate.ask(request, check_request(DrainWorker(worker)), Drained)
        return json_response(documents.of_drained(worker, found))

    # A queue's name may hold a slash: `path` takes it with or without %2F.
    @router.post("/queues/{queue:path}/pause", **_queue_call(PauseQueue, PauseBody))
    async def pause(request: Request, queue: QueuePath, query: Annotated[NoQuery, Query()]) -> Response:
        """Hand out nothing from this queue until it is resumed. Running tasks go on."""
        caller = await gate.permit(request, PauseQueue)
        body = await bodies.model(request, PauseBody)
        await gate.send(caller, check_request(PauseQueue(queue, body.reason)), Done)
        return json_response({"queue": queue, "paused": True})

    @router.post("/queues/{queue:path}/resume", **_queue_call(ResumeQueue, None))
    async def resume(request: Request, queue: QueuePath, query: Annotated[NoQuery, Query()]) -> Response:
        """Hand out from this queue again."""
        await gate.ask(request, check_request(ResumeQueue(queue)), Done)
        return json_response({"queue": queue, "paused": False})

    @router.post(
        "/tasks/purge", **described(Purge, answer=PurgedTasks, text="Forgotten so many", body=PurgeBody)
    )
    async def purge(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Forget ended tasks of one status, or cancel and forget waiting ones. Call again while `more`."""
        caller = await gate.permit(request, Purge)
        body = await bodies.model(request, PurgeBody)
        verb = Purge(
            STATE_OF_STATUS[body.status], body.older_than_seconds, body.queue, body.task_type, body.limit
        )
        return json_response(documents.of_purged(await gate.send(caller, verb, Purged)))


def _queue_call(verb: type[PauseQueue] | type[ResumeQueue], body: type[PauseBody] | None) -> dict[str, Any]:
    return described(verb, answer=QueuePaused, text="So it is", body=body, body_required=False)
