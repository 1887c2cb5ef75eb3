"""Calls of load balancers, container runtimes and Prometheus. The first two need no key: they have none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tq import documents
from tq.broker.access import prober
from tq.broker.api.rest.answers import Alive, HealthShown
from tq.broker.api.rest.errors import json_response
from tq.broker.api.rest.gate import SILENT, Gate
from tq.broker.api.rest.openapi import described, shown
from tq.broker.api.rest.parameters import NoQuery
from tq.broker.service import Caller
from tq.verbs import GetHealth, GetStats, Health, Ping

RenderMetrics: TypeAlias = Callable[[str], tuple[str, bytes]]
"""Accept header -> content type and body, in whichever of Prometheus' text formats fits."""
HEALTHY = "healthy"


def add_probes(router: APIRouter, gate: Gate, stopping: asyncio.Event, render: RenderMetrics | None) -> None:
    """render: None = metrics are not served here."""
    nobody = Caller(SILENT, prober())

    async def health(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Is the broker well. 503 when it is degraded, and `problems` says why."""
        found = await gate.send(nobody, GetHealth(), Health)
        if stopping.is_set():
            found = found._replace(status="degraded", problems=(*found.problems, "the broker is stopping"))
        return json_response(documents.of_health(found), 200 if found.status == HEALTHY else 503)

    told = described(GetHealth, answer=HealthShown, text="Well")
    told["responses"][503] = shown("Degraded", HealthShown)
    router.get("/health", **told)(health)
    router.get("/api/v1/health", **told)(health)

    @router.get("/livez", **described(Ping, answer=Alive, text="Alive"))
    async def livez(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """The process turns. A failure means: restart it."""
        return json_response({"status": "alive"})

    ready = described(GetHealth, answer=Alive, text="Ready")
    ready["responses"][503] = shown("Not ready", Alive)

    @router.get("/readyz", **ready)
    async def readyz(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """It takes tasks. A failure means: send nobody here for the moment."""
        found = await gate.send(nobody, GetHealth(), Health)
        is_ready = found.status == HEALTHY and not stopping.is_set()
        return json_response({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    if render is not None:
        _add_metrics(router, gate, render)


def _add_metrics(router: APIRouter, gate: Gate, render: RenderMetrics) -> None:
    told = described(GetStats)
    told["responses"][200] = {
        "description": "Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }

    @router.get("/metrics", response_class=Response, **told)
    async def metrics(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Metrics for Prometheus. With keys on, the scraper needs one that may read tasks."""
        await gate.permit(request, GetStats)
        content_type, page = render(request.headers.get("accept", ""))
        return Response(page, headers={"content-type": content_type})
