"""Calls that look at the whole: how the last hour went, what failed, what is dead, and what the caller may do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tq import documents
from tq.broker.access import Permission
from tq.broker.api.rest.answers import DeadLetterGroups, FailureList, Me, QueueList, SeriesShown
from tq.broker.api.rest.errors import json_response
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.openapi import described, for_any_key
from tq.broker.api.rest.parameters import NewestFailures, NoQuery, OfKind
from tq.verbs import (
    DeadLetters,
    Failures,
    GetSeries,
    GroupDeadLetters,
    ListFailures,
    ListQueues,
    Queues,
    Series,
)
from tq.version import VERSION


def add_overview(router: APIRouter, gate: Gate, node_id: str) -> None:

    @router.get("/me", **for_any_key(answer=Me, text="The caller"))
    async def me(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Who the key belongs to and what it permits; everything, while keys are off."""
        who = (await gate.caller(request)).principal
        is_admin = Permission.ADMIN in who.permissions
        held = [permission.value for permission in Permission if is_admin or permission in who.permissions]
        return json_response(
            {
                "name": who.name,
                "permissions": held,
                "keys_on": gate.asks_for_keys,
                "version": VERSION,
                "node_id": node_id,
            }
        )

    @router.get("/series", **described(GetSeries, answer=SeriesShown, text="The last hour"))
    async def series(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """The last hour minute by minute, and how long tasks wait and run. The last number is of the minute that runs."""
        return json_response(documents.of_series(await gate.ask(request, GetSeries(), Series)))

    @router.get("/failures", **described(ListFailures, answer=FailureList, text="The newest failures"))
    async def failures(request: Request, query: Annotated[NewestFailures, Query()]) -> Response:
        """The attempts that failed last, whatever became of their tasks, newest first."""
        found = await gate.ask(request, ListFailures(query.limit), Failures)
        return json_response(documents.of_failures(found))

    @router.get(
        "/dead-letters", **described(GroupDeadLetters, answer=DeadLetterGroups, text="Groups of dead letters")
    )
    async def dead_letters(request: Request, query: Annotated[OfKind, Query()]) -> Response:
        """Dead letters by type, queue and what went wrong, largest group first. Of very many the newest first, all after a while."""
        verb = GroupDeadLetters(query.task_type, query.queue)
        return json_response(documents.of_dead_letters(await gate.ask(request, verb, DeadLetters)))

    @router.get("/queues", **described(ListQueues, answer=QueueList, text="The queues"))
    async def queues(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """The queues, each with its counts, its rates, its task types, and whether it is paused."""
        return json_response(documents.of_queues(await gate.ask(request, ListQueues(), Queues)))
