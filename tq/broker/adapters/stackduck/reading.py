"""Questions: single tasks, pages, waits. The record answers; Redis only where PostgreSQL is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from tq.broker.adapters.stackduck.by_name import ByName
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.stores import outward
from tq.broker.backend import Answer, Peer
from tq.broker.compat.stackduck.names import job_type_of
from tq.broker.compat.stackduck.stored import RUNNING, StoredJob
from tq.broker.compat.stackduck.tasks import QUEUES, view_of
from tq.errors import TqError
from tq.task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    EXPIRED,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
    TaskView,
)
from tq.verbs import GetTask, ListTasks, Reply, TaskPage, Watch, Watching

_DUE = "COALESCE(scheduled_at, created_at) <= NOW()"
_WAITS = "lower(status) = 'queued'"
WHERE_STATE = {
    0: "TRUE",
    SCHEDULED: f"{_WAITS} AND NOT {_DUE} AND COALESCE(retry_count, 0) = 0",
    BLOCKED: "FALSE",
    PENDING: f"{_WAITS} AND {_DUE}",
    IN_PROGRESS: "lower(status) = 'running'",
    RETRYING: f"{_WAITS} AND NOT {_DUE} AND retry_count > 0",
    COMPLETED: "lower(status) = 'completed'",
    DEAD_LETTER: "lower(status) = 'failed'",
    CANCELLED: "lower(status) = 'cancelled'",
    EXPIRED: "FALSE",
}
"""state -> the rows in it."""


class Reading:
    def __init__(self, parts: Parts, by_name: ByName) -> None:
        self._parts = parts
        self._by_name = by_name
        self._open_waits: dict[object, Callable[[], None]] = {}

    def answer(self, work: Coroutine[None, None, Reply], answer: Answer, *, changes: bool = False) -> None:
        """Answer with what this gives, or with the TqError it raises. changes: what is cut off may have happened."""

        async def run() -> None:
            try:
                reply = await work
            except TqError as error:
                answer(outward(error) if changes else error)
            else:
                answer(reply)

        self._parts.spawn(run())

    # ------------------------------------------------------------ one task

    def get(self, peer: Peer, request: GetTask, answer: Answer) -> None:
        self.answer(self._get(request), answer)

    async def _get(self, request: GetTask) -> TaskView:
        if not request.wait_ms:
            return await self._view(request.task_id, request)
        # Waiting begins before the look, so that an end in between is not missed.
        ended = asyncio.Event()
        wait = object()
        take_back = self._parts.waiters.call(request.task_id, lambda view: ended.set())
        self._open_waits[wait] = ended.set
        try:
            view = await self._view(request.task_id, request)
            if view.has_ended:
                return view
            async with asyncio.timeout(request.wait_ms / 1000):
                await ended.wait()
        except TimeoutError:
            pass
        finally:
            del self._open_waits[wait]
            take_back()
        return await self._view(request.task_id, request)

    async def _view(self, job_id: bytes, request: GetTask) -> TaskView:
        """Raises TaskNotFound, StoreAway."""
        job = await self._by_name.known(job_id)
        view = self.view(job)
        if not request.with_payload:
            view = view._replace(payload=None)
        if view.state == COMPLETED and self._parts.rows.store.is_up:
            result = await self._parts.rows.result_of(job_id)
            size = -1 if result is None else len(result)
            view = view._replace(result=result if request.with_result else None, result_bytes=size)
        return view

    def view(self, job: StoredJob) -> TaskView:
        """With who holds it, as far as this broker knows."""
        held = self._parts.sessions.held.get(job.job_id)
        now_us = self._parts.now_us
        if held is None:
            return view_of(job, now_us)
        shown = job._replace(status=RUNNING, started_us=held.started_ms * 1000)
        return view_of(shown, now_us, worker_id=held.session.said.worker_id, token=held.token)

    def end_waits(self) -> None:
        """Answer everybody who waits with the task as it is."""
        for end in list(self._open_waits.values()):
            end()

    # ------------------------------------------------------------ watching

    def watch(self, peer: Peer, request: Watch, answer: Answer) -> None:
        # Before the look, so that an end in between is told twice rather than not at all.
        for task_id in request.task_ids:
            self._parts.waiters.watch(peer, task_id)
        self.answer(self._watch(request), answer)

    async def _watch(self, request: Watch) -> Watching:
        known = await self._parts.rows.find(request.task_ids)
        ended = []
        for job_id, job in known.items():
            if job.has_ended:
                self._parts.waiters.take(job_id)
                result = await self._parts.rows.result_of(job_id)
                ended.append(self.view(job)._replace(payload=None, result=result))
        unknown = tuple(each for each in request.task_ids if each not in known)
        for job_id in unknown:
            self._parts.waiters.take(job_id)
        return Watching(tuple(ended), unknown)

    async def look_for_ended(self, ids: list[bytes]) -> None:
        """Tell those who wait for any of these that has ended, here or anywhere else. Raises StoreAway."""
        for job in (await self._parts.rows.find(ids)).values():
            if job.has_ended:
                result = await self._parts.rows.result_of(job.job_id)
                self._parts.announce((job,))
                self._parts.tell_ended(job, result)

    # ------------------------------------------------------------ pages

    def page(self, peer: Peer, request: ListTasks, answer: Answer) -> None:
        self.answer(self._page(request), answer)

    async def _page(self, request: ListTasks) -> TaskPage:
        if request.queue and request.queue not in QUEUES:
            return TaskPage((), 0, request.limit, request.offset, 0)
        values: list[object] = []
        where = where_of(request.state, request.task_type, values)
        if request.worker_id:
            held = self._parts.sessions.held.values()
            values.append(
                [each.job.job_id for each in held if each.session.said.worker_id == request.worker_id]
            )
            where += f" AND id = ANY(${len(values)}::uuid[])"
        total = (await self._parts.rows.fetch(f"SELECT count(*) AS n FROM jobs WHERE {where}", *values))[0][
            "n"
        ]
        if request.cursor:
            values.append(request.cursor)
            where += f" AND created_at {'>' if request.oldest_first else '<'} ${len(values)}::timestamptz"
        order = "ASC" if request.oldest_first else "DESC"
        tail = f"ORDER BY created_at {order}, id {order} LIMIT {request.limit + 1} OFFSET {request.offset}"
        jobs = await self._parts.rows.list_jobs(f"WHERE {where} {tail}", *values)
        shown, cursor = cut(jobs, request.limit)
        views = tuple(self.view(job)._replace(payload=None) for job in shown)
        return TaskPage(views, total, request.limit, request.offset, cursor)


def where_of(state: int, task_type: str, values: list[object]) -> str:
    """The condition; what it refers to is added to `values`."""
    where = WHERE_STATE[state]
    if task_type:
        values.append(job_type_of(task_type))
        where += f" AND job_type = ${len(values)}"
    return where


def cut(jobs: list[StoredJob], limit: int) -> tuple[list[StoredJob], int]:
    """(page, cursor of the next or 0). Rows made in the same microsecond stay together, unless they are a page by
    themselves: the cursor is the time."""
    if len(jobs) <= limit:
        return jobs, 0
    end = limit
    while end > 1 and jobs[end].created_us == jobs[end - 1].created_us:
        end -= 1
    if end == 1 and jobs[1].created_us == jobs[0].created_us:
        end = limit
    return jobs[:end], jobs[end - 1].created_us or 0
