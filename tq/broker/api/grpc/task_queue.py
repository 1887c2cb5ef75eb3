"""`taskqueue.v1.TaskQueue`, the calls of clients: each is one verb, there and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from tq.broker.api.grpc import tasks_in, tasks_out
from tq.broker.api.grpc.calls import Calls, Context, headers_of, parse
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

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """method name -> handler"""
        methods = {
            "SubmitTask": self.submit_task,
            "SubmitTasks": self.submit_tasks,
            "GetTaskStatus": self.get_task_status,
            "CancelTask": self.cancel_task,
            "ListTasks": self.list_tasks,
            "GetStats": self.get_stats,
        }
        return {name: self._calls.unary(method) for name, method in methods.items()}

    async def submit_task(self, context: Context, data: bytes) -> pb.SubmitTaskResponse:
        task = parse(pb.SubmitTaskRequest, data, self._calls).task
        return (await self._submit(context, [task], batch=False))[0]

    async def submit_tasks(self, context: Context, data: bytes) -> pb.SubmitTasksResponse:
        tasks = list(parse(pb.SubmitTasksRequest, data, self._calls).tasks)
        return pb.SubmitTasksResponse(tasks=await self._submit(context, tasks, batch=True))

    async def _submit(
        self, context: Context, tasks: list[pb.TaskSpec], *, batch: bool
    ) -> list[pb.SubmitTaskResponse]:
        headers = headers_of(context)
        caller = await self._calls.caller(context, headers=headers)
        submit = tasks_in.submit_of(tasks, new_id=self._new_id, batch=batch)
        request = Submit(carried(submit.tasks, headers.get(TRACEPARENT, ""), headers.get(TRACESTATE, "")))
        reply = await self._calls.service.call(caller, request)
        assert isinstance(reply, Submitted)
        return tasks_out.submitted(request, reply)

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

    async def cancel_task(self, context: Context, data: bytes) -> pb.CancelTaskResponse:
        asked = parse(pb.CancelTaskRequest, data, self._calls)
        caller = await self._calls.caller(context)
        reply = await self._calls.service.call(caller, Cancel(read_id(asked.task_id, "task_id"), asked.force))
        assert isinstance(reply, TaskRef)
        return tasks_out.cancelled(reply)

    async def list_tasks(self, context: Context, data: bytes) -> pb.ListTasksResponse:
        asked = parse(pb.ListTasksRequest, data, self._calls)
        caller = await self._calls.caller(context)
        reply = await self._calls.service.call(caller, tasks_in.list_of(asked))
        assert isinstance(reply, TaskPage)
        return tasks_out.page(reply)

    async def get_stats(self, context: Context, data: bytes) -> pb.Stats:
        asked = parse(pb.GetStatsRequest, data, self._calls)
        caller = await self._calls.caller(context)
        reply = await self._calls.service.call(caller, GetStats(tasks_in.level_of(asked.consistency)))
        assert isinstance(reply, Stats)
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
