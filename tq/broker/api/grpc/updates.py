"""StreamTaskUpdates: one task's way to its end, as one message for each status it is seen in."""

from __future__ import annotations

import asyncio

from tq import ids
from tq.broker.api.grpc import tasks_out
from tq.broker.api.grpc.call import Handler
from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.grpc.ids import read_id
from tq.broker.feed import EVENTS_MAX, Feed, Subscription
from tq.errors import TqError
from tq.proto import taskqueue_pb2 as pb
from tq.task import TaskView
from tq.verbs import GetTask


class Updates:
    """Opens and serves the streams; one whose task stands still costs nothing."""

    def __init__(self, calls: Calls, feed: Feed) -> None:
        self._calls = calls
        self._feed = feed

    def handlers(self) -> dict[str, Handler]:
        """method name -> handler"""
        return {"StreamTaskUpdates": self._calls.streaming(self.stream)}

    async def stream(self, context: Context, data: bytes) -> None:
        """Write the task now and at each change, and return after its end."""
        asked = parse(pb.StreamTaskUpdatesRequest, data, self._calls)
        caller = await self._calls.caller(context)
        task_id = read_id(asked.task_id, "task_id")
        watched = _Watched()
        # Heard before the first look, so that nothing falls between the two.
        subscription = self._listen(task_id, watched)
        self._calls.hold(watched, caller)
        shown: object = None
        try:
            while True:
                # Events only say that it is time to look: a reader that is slow is told of several together.
                watched.changed.clear()
                subscription.take(EVENTS_MAX)
                view = await self._calls.service.call(caller, GetTask(task_id))
                assert isinstance(view, TaskView)
                if _look(view) != shown:
                    shown = _look(view)
                    await self._calls.write(context, tasks_out.task(view).SerializeToString())
                if view.has_ended:
                    return
                await watched.changed.wait()
                if watched.error is not None:
                    raise watched.error
                if subscription.is_lagged:
                    subscription.close()
                    subscription = self._listen(task_id, watched)
        finally:
            self._calls.release(watched)
            subscription.close()

    def _listen(self, task_id: bytes, watched: _Watched) -> Subscription:
        return self._feed.subscribe(task_id=ids.to_text(task_id), on_ready=watched.changed.set)


class _Watched:
    """One stream's task. error: why the stream has to end before the task does."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.error: TqError | None = None

    def end(self, error: TqError) -> None:
        self.error = error
        self.changed.set()


def _look(view: TaskView) -> object:
    """What makes one message differ from the one before."""
    return view.state, view.token, view.schedule_at_ms, view.counters, view.priority
