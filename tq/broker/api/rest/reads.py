"""Calls that look at tasks: one, with a wait for its end, and lists of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tq import documents
from tq.broker.api.rest.answers import TaskList, TaskShown
from tq.broker.api.rest.errors import json_response, text_response
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.openapi import NO_IDS, described
from tq.broker.api.rest.page_texts import page_text
from tq.broker.api.rest.parameters import OneTask, Page, TaskIdPath, parameters_of, task_id_of
from tq.errors import BrokerUnavailable, TaskNotFound, TqError
from tq.task import STATE_OF_STATUS, TaskView
from tq.verbs import GetTask, ListTasks, Push, TaskEnded, TaskPage, Watch, Watching


def add_reads(router: APIRouter, gate: Gate, pages: Pages, stopping: asyncio.Event) -> None:
    """stopping: once it is set nobody is kept waiting any longer."""

    @router.get(
        "/tasks/{task_id}", **described(GetTask, TaskNotFound, answer=TaskShown, text="The task", also=NO_IDS)
    )
    async def get_task(request: Request, task_id: TaskIdPath, query: Annotated[OneTask, Query()]) -> Response:
        """One task, as it is or, with `wait`, as soon as it has ended or the time is up."""
        found = task_id_of(task_id)
        if query.wait:
            await _ended(gate, request, found, query.wait, stopping)
        verb = GetTask(
            found,
            with_payload=query.with_payload,
            consistency=query.level,
            with_result=query.with_result,
        )
        view = await gate.ask(request, verb, TaskView)
        return json_response(documents.of_task(view))

    router.get("/tasks", **described(ListTasks, answer=TaskList, text="A page"))(pages.list_tasks)


class Pages:
    """The list of tasks: what dashboards and scripts ask again and again."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def shortcut(self, request: Request) -> Awaitable[Response] | None:
        """The call without FastAPI; None when its parameters are not right, and FastAPI is to say so."""
        query = parameters_of(request, Page)
        return None if query is None else self.list_tasks(request, query)

    async def list_tasks(self, request: Request, query: Annotated[Page, Query()]) -> Response:
        """A page of tasks, newest first. A cursor's pages show every task that was there once, while tasks move."""
        verb = ListTasks(
            STATE_OF_STATUS[query.status] if query.status else 0,
            query.task_type,
            query.queue,
            query.limit,
            query.offset,
            int(query.cursor or 0),
            consistency=query.level,
            worker_id=query.worker_id,
            fingerprint=query.fingerprint,
            oldest_first=query.order == "oldest",
            with_result=query.with_result,
        )
        return text_response(page_text(await self._gate.ask(request, verb, TaskPage)))


class _Waiter:
    """The peer of one call that waits: woken by the push, and nothing else."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    def push(self, push: Push) -> None:
        if isinstance(push, TaskEnded):
            self.is_over.set()

    def dismiss(self, error: TqError) -> None:
        self.is_over.set()


async def _ended(
    gate: Gate, request: Request, task_id: bytes, seconds: float, stopping: asyncio.Event
) -> None:
    """Return when the task has ended or the time is up.

    Raises BrokerUnavailable for a broker that stops, ClientDisconnect for a client that has hung up.
    """
    waiter = _Waiter()
    caller = await gate.caller(request, peer=waiter)
    try:
        watching = await gate.send(caller, Watch((task_id,)), Watching)
        if watching.unknown or watching.ended:
            return
        gone = asyncio.ensure_future(_disconnected(request))
        waits = [
            gone,
            asyncio.ensure_future(waiter.is_over.wait()),
            asyncio.ensure_future(stopping.wait()),
        ]
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if gone in done:
            raise ClientDisconnect
        if stopping.is_set() and not waiter.is_over.is_set():
            raise BrokerUnavailable("the broker is stopping; ask again, or another node")
    finally:
        gate.forget(waiter)


async def _disconnected(request: Request) -> None:
    """Return when the client has hung up: then nobody waits any more."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
