"""Puts the calls together into one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tq.broker.api.rest.bodies import Bodies
from tq.broker.api.rest.clusters import add_clusters
from tq.broker.api.rest.description import Description
from tq.broker.api.rest.errors import (
    ErrorAnswers,
    HttpFault,
    failed,
    invalid,
    no_such_method,
    no_such_path,
)
from tq.broker.api.rest.events import CHECK_S, add_events
from tq.broker.api.rest.front import Front, without_query
from tq.broker.api.rest.gate import CALL_S_MAX, Gate
from tq.broker.api.rest.many import add_many
from tq.broker.api.rest.operations import add_operations
from tq.broker.api.rest.overview import add_overview
from tq.broker.api.rest.probes import RenderMetrics, add_probes
from tq.broker.api.rest.reads import Pages, add_reads
from tq.broker.api.rest.site import Site, read_site
from tq.broker.api.rest.tasks import Submits, add_tasks
from tq.broker.feed import Feed
from tq.broker.observe import Observer
from tq.broker.service import Service
from tq.clock import Clock
from tq.errors import TqError
from tq.version import VERSION

API = "/api/v1"


@dataclass(slots=True)
class Parts:
    """What the application is made of.

    stopping: set when the broker begins to stop. render_metrics: None = not served here. call_s_max: longest wait
    for the service. check_s: how soon a stream whose key was withdrawn ends. site: the dashboard's files.
    """

    service: Service
    observer: Observer
    feed: Feed
    clock: Clock
    new_id: Callable[[], bytes]
    render_metrics: RenderMetrics | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: Bodies = field(default_factory=Bodies)
    call_s_max: float = CALL_S_MAX
    check_s: float = CHECK_S
    site: Site = field(default_factory=read_site)
    node_id: str = ""


def make_app(parts: Parts, answers: ErrorAnswers) -> Front:
    """The whole REST interface as ASGI."""
    gate = Gate(parts.service, call_s_max=parts.call_s_max)
    submits = Submits(gate, parts.bodies, parts.new_id)
    pages = Pages(gate)
    app = make_fastapi(parts, gate, submits, pages, answers)
    shortcuts = {
        ("POST", f"{API}/tasks"): without_query(submits.one),
        ("POST", f"{API}/tasks/batch"): without_query(submits.many),
        ("GET", f"{API}/tasks"): pages.shortcut,
    }
    return Front(app, shortcuts, parts.site, f"{API}/events", parts.service, answers)


def make_fastapi(parts: Parts, gate: Gate, submits: Submits, pages: Pages, answers: ErrorAnswers) -> FastAPI:
    """Every route, with what OpenAPI says of it."""
    app = FastAPI(title="tq", version=VERSION, openapi_url=None, redirect_slashes=False)
    description = Description(app)
    for kind, handler in _handlers(answers, description).items():
        app.add_exception_handler(kind, handler)
    api = APIRouter(prefix=API)
    # First, so that `batch` and `purge` are no ids.
    _refuse_ids_that_are_none(api)
    add_operations(api, gate, parts.bodies)
    add_many(api, gate, parts.bodies)
    add_clusters(api, gate, parts.bodies)
    add_overview(api, gate, parts.node_id)
    add_tasks(api, gate, parts.bodies, submits)
    add_reads(api, gate, pages, parts.stopping)
    add_events(api, gate, parts.feed, answers, parts.stopping, parts.check_s)
    app.include_router(api)
    add_probes(app.router, gate, parts.stopping, parts.render_metrics)
    description.add_pages()
    return app


def _refuse_ids_that_are_none(router: APIRouter) -> None:
    """Without this, `GET /tasks/batch` would be a look at a task of that name."""

    @router.api_route("/tasks/batch", methods=["GET", "DELETE"], include_in_schema=False)
    @router.api_route("/tasks/purge", methods=["GET", "DELETE"], include_in_schema=False)
    async def refuse() -> None:
        raise HTTPException(405)


def _handlers(answers: ErrorAnswers, description: Description) -> dict[Any, Any]:
    """FastAPI's own errors in our shape; ours are passed on to the same function."""

    async def ours(request: Request, error: TqError | HttpFault) -> Response:
        return answers.response(error)

    async def defect(request: Request, error: Exception) -> Response:
        # It is raised again after this, and logged by `Front`.
        return answers.response(failed())

    async def wrong_parameter(request: Request, error: RequestValidationError) -> Response:
        faults = [{**fault, "loc": fault["loc"][1:]} for fault in error.errors()]
        return answers.response(invalid(faults))

    async def not_found(request: Request, error: HTTPException) -> Response:
        fault: HttpFault | TqError
        if error.status_code == 404:
            fault = no_such_path(request.url.path)
        elif error.status_code == 405:
            fault = no_such_method(request.method, await description.methods_of(request.url.path))
        else:
            fault = HttpFault(error.status_code, "BAD_REQUEST", str(error.detail))
        return answers.response(fault)

    return {
        TqError: ours,
        HttpFault: ours,
        RequestValidationError: wrong_parameter,
        HTTPException: not_found,
        Exception: defect,
    }
