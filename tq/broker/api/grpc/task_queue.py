"""`taskqueue.v1.TaskQueue`, the calls of clients: each is one verb, there and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tq.broker.api.grpc import tasks_in, tasks_out
from tq.broker.api.grpc.call import Handler
from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.grpc.exchange import exchange
from tq.broker.api.grpc.ids import read_id
from tq.broker.service import Caller
from tq.errors import TqError
from tq.proto import taskqueue_pb2 as pb
from tq.spans import carried
from tq.task import TaskView
from tq.trace_context import TRACEPARENT, TRACESTATE
from tq.verbs import (
    Cancel,
    GetStats,
    GetTask,
    ListTasks,
    Push,
    Stats,
    Submit,
    Submitted,
    TaskPage,
    TaskRef,
    Watch,
    Watching,
)

DEADLINE_MARGIN_S = 0.1
"""A wait ends so long before the caller's deadline, so that the answer is there in time."""


class TaskQueue:
    """The unary calls. new_id: makes the ids of tasks that come without one."""

    def __init__(self, calls: Calls, *, new_id: Callable[[], bytes]) -> None:
        self._calls = calls
        self._new_id = new_id

    def handlers(self) -> dict[str, Handler]:
        """method name -> handler"""
        calls = self._calls
        return {
            "SubmitTask": exchange(calls, pb.SubmitTaskRequest, self._submit_of_one, _submitted_one),
            "SubmitTasks": exchange(calls, pb.SubmitTasksRequest, self._submit_of_many, _submitted_many),
            "GetTaskStatus": calls.unary(self.get_task_status),
            "CancelTask": exchange(calls, pb.CancelTaskRequest, _cancel_of, _cancelled),
            "ListTasks": exchange(calls, pb.ListTasksRequest, _list_of, _page),
            "GetStats": exchange(calls, pb.GetStatsRequest, _get_stats_of, _stats),
        }

    def _submit_of_one(self, asked: pb.SubmitTaskRequest, headers: Mapping[str, str]) -> Submit:
        return _with_trace(tasks_in.submit_of((asked.task,), new_id=self._new_id, batch=False), headers)

    def _submit_of_many(self, asked: pb.SubmitTasksRequest, headers: Mapping[str, str]) -> Submit:
        return _with_trace(tasks_in.submit_of(asked.tasks, new_id=self._new_id, batch=True), headers)

    async def get_task_status(self, context: Context, data: bytes) -> pb.Task:
        asked = parse(pb.GetTaskStatusRequest, data, self._calls)
        caller = await self._calls.caller(context)
        task_id, wait_ms = tasks_in.look_of(asked)
        level = tasks_in.level_of(asked.consistency)
        if wait_ms:
            wait = _Wait()
            caller = caller._replace(peer=wait)
            await self._wait(wait, caller, task_id, _seconds_to_wait(context, wait_ms))
        return tasks_out.task(await self.view(caller, GetTask(task_id, 0, asked.with_payload, level)))

    async def _wait(self, wait: _Wait, caller: Caller, task_id: bytes, seconds: float) -> None:
        """Until the task has ended, or it is time. A caller that leaves leaves nothing behind."""
        self._calls.hold(wait, caller)
        try:
            watching = await self._calls.service.call(caller, Watch((task_id,)))
            assert isinstance(watching, Watching)
            if not watching.ended and not watching.unknown:
                async with asyncio.timeout(seconds):
                    await wait.over.wait()
        except TimeoutError:
            pass
        finally:
            self._calls.release(wait)
            self._calls.service.disconnected(wait)

    async def view(self, caller: Caller, request: GetTask) -> TaskView:
        reply = await self._calls.service.call(caller, request)
        assert isinstance(reply, TaskView)
        return reply


def _with_trace(submit: Submit, headers: Mapping[str, str]) -> Submit:
    return Submit(carried(submit.tasks, headers.get(TRACEPARENT, ""), headers.get(TRACESTATE, "")))


def _submitted_one(request: Submit, reply: Submitted) -> pb.SubmitTaskResponse:
    return tasks_out.submitted(request, reply)[0]


def _submitted_many(request: Submit, reply: Submitted) -> pb.SubmitTasksResponse:
    return pb.SubmitTasksResponse(tasks=tasks_out.submitted(request, reply))


def _cancel_of(asked: pb.CancelTaskRequest, _headers: Mapping[str, str]) -> Cancel:
    return Cancel(read_id(asked.task_id, "task_id"), asked.force)


def _cancelled(_request: Cancel, reply: TaskRef) -> pb.CancelTaskResponse:
    return tasks_out.cancelled(reply)


def _list_of(asked: pb.ListTasksRequest, _headers: Mapping[str, str]) -> ListTasks:
    return tasks_in.list_of(asked)


def _page(_request: ListTasks, reply: TaskPage) -> pb.ListTasksResponse:
    return tasks_out.page(reply)


def _get_stats_of(asked: pb.GetStatsRequest, _headers: Mapping[str, str]) -> GetStats:
    return GetStats(tasks_in.level_of(asked.consistency))


def _stats(_request: GetStats, reply: Stats) -> pb.Stats:
    return tasks_out.stats(reply)


class _Wait:
    """The peer of a call that waits for its task: any push it gets means that the wait is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    def push(self, push: Push) -> None:
        self.over.set()

    def dismiss(self, error: TqError) -> None:
        self.over.set()

    def end(self, error: TqError) -> None:
        self.over.set()


def _seconds_to_wait(context: Context, wait_ms: int) -> float:
    """As asked, but no longer than the caller waits for us."""
    remaining = context.time_remaining()
    seconds = wait_ms / 1000
    return seconds if remaining is None else max(0.0, min(seconds, remaining - DEADLINE_MARGIN_S))
