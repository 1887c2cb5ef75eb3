"""The blocking client. Made from `tq/client/aio.py` by `scripts/unasync.py`; change that file and run the script."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast

from tq import ids, verbs
from tq.client.batches import cut_short, specs_of, submits, texts_of
from tq.client.durations import Duration, Moment, duration_ms, duration_s
from tq.client.info import TaskInfo, TaskList
from tq.client.routing import parse_addresses
from tq.client.sync_channel import Channel, ChannelOptions
from tq.client.sync_link import CONNECT_SECONDS, KEEPALIVE_SECONDS
from tq.client.sync_waits import home, is_gone
from tq.client.task import PriorityLike, RetryLike, Task, task_spec
from tq.client.tls import client_context
from tq.clock import SystemClock
from tq.errors import BadRequest, OutcomeUnknown, TqError
from tq.spans import is_tracing, submitting
from tq.task import (
    CANCELLED,
    DEFAULT_MAX_RETRIES,
    DEFAULT_QUEUE,
    STATE_OF_STATUS,
    STATUS_OF_STATE,
    Priority,
    TaskSpec,
    TaskView,
)

CALL_SECONDS = 30.0
"""How long a call goes on trying by default: longer than an election or a restart."""
BACKUP_SECONDS = 3600.0
"""A backup copies the whole store."""
WAIT_SECONDS_MAX = 366 * 24 * 3600.0
"""What a wait without a timeout means: longer than any delay a task may have."""
PURGE_ROUNDS_MAX = 1_000_000
"""Requests one purge may take; each forgets up to a thousand tasks."""

_NO_METADATA: Mapping[str, str] = {}
_Answer = TypeVar("_Answer", bound=verbs.Reply)


class Client:
    """Talks to a broker, or to whichever node of a cluster can answer.

    Nothing connects before the first call. Connections come back by themselves; a call goes on trying, where that
    is safe, until its time is up, and then says honestly what became of it:

        rejected     (BadRequest, TaskNotFound, InvalidStatus, ...)   it did not happen and will not
        unavailable  (BrokerUnavailable, QueueFull, RateLimited)      it did not happen; the same call may succeed later
        unknown      (OutcomeUnknown)                                 it may have happened

    May be used from any number of threads at once, and after a fork.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] = "127.0.0.1:6379",
        *,
        api_key: str | None = None,
        timeout: Duration = CALL_SECONDS,
        pool_size: int = 1,
        tls: ssl.SSLContext | bool = False,
        name: str = "",
        connect_timeout: Duration = CONNECT_SECONDS,
        keepalive: Duration = KEEPALIVE_SECONDS,
    ) -> None:
        """Prepare; connects to nothing.

        addresses: `host:port`, several with commas; `tq://` before them is allowed; port 6379 when left out.
        timeout: the whole time a call may take, all its tries together.
        pool_size: connections; tasks submitted over more than one are not kept in order among each other.
        tls: True trusts the system's authorities; a context says more.
        name: what this client calls itself in the broker's logs.
        connect_timeout: one attempt: TCP, TLS and hello. keepalive: a broker silent for so long is taken for dead.
        Raises BadRequest naming what is wrong.
        """
        self._timeout_s = duration_s(timeout, "timeout")
        self._options = ChannelOptions(
            addresses=parse_addresses(addresses),
            api_key=api_key or "",
            name=name,
            tls=client_context() if tls is True else tls or None,
            pool_size=pool_size,
            connect_timeout_s=duration_s(connect_timeout, "connect_timeout"),
            keepalive_s=duration_s(keepalive, "keepalive"),
        )
        self._clock = SystemClock()
        self._rng = random.Random()
        self._channels: dict[object, Channel] = {}
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls under way end with OutcomeUnknown. Calling it again does nothing."""
        self._is_closed = True
        channel = self._channels.pop(home(), None)
        if channel is not None:
            channel.close()

    # ------------------------------------------------------------ submitting

    def submit_task(
        self,
        task_type: str,
        payload: bytes = b"",
        priority: PriorityLike = Priority.NORMAL,
        *,
        task_id: str | None = None,
        queue: str = DEFAULT_QUEUE,
        schedule_at: Moment | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        retry: RetryLike | None = None,
        dependencies: Sequence[str] = (),
        expires_at: Moment | None = None,
        unique_key: str = "",
        unique_ttl: Duration | None = None,
        metadata: Mapping[str, str] = _NO_METADATA,
        call_timeout: Duration | None = None,
    ) -> str:
        """Put one task on its queue; returns its id once the broker has it on disk (a majority of a cluster).

        payload: bytes, at most 10 MB. priority: 0-255, higher first, or "high", "normal", "low".
        task_id: a UUID; made here when absent. An id that exists gives the task that exists.
        schedule_at, delay: not handed out before; a delay counts from its arrival at the broker.
        timeout: how long one attempt may run, default 300 s. call_timeout: how long this call may take.
        max_retries: executions by error or timeout are one more. retry: a policy, or the delays one by one.
        dependencies: ids of tasks that must complete first. expires_at: not started by then, it ends as expired.
        unique_key: while a task with this key lives, or for unique_ttl since its submit, this gives that task's id.
        Raises BadRequest, PayloadTooLarge, PermissionDenied (rejected), QueueFull, RateLimited, BrokerUnavailable
            (unavailable; tried again for you until the time is up), OutcomeUnknown (names the id: submit it again).
        """
        spec = task_spec(
            task_type,
            payload,
            priority,
            task_id=ids.new_id() if task_id is None else ids.from_text(task_id),
            queue=queue,
            schedule_at=schedule_at,
            delay=delay,
            timeout=timeout,
            max_retries=max_retries,
            retry=retry,
            dependencies=dependencies,
            expires_at=expires_at,
            unique_key=unique_key,
            unique_ttl=unique_ttl,
            metadata=metadata,
        )
        submit = verbs.Submit((spec,))
        try:
            submitted = self._submit(submit, call_timeout)
        except TqError as error:
            raise cut_short(error, submit, 0, 1) from error
        return ids.to_text(submitted.existing[0].task_id if submitted.existing else spec.task_id)

    def submit_tasks(
        self, tasks: Iterable[Task | TaskSpec], *, call_timeout: Duration | None = None
    ) -> list[str]:
        """Put many tasks on their queues, in order; returns their ids, in order.

        Up to 10,000 tasks or 8 MB travel in one request and are accepted all or none. A longer list goes as
        several requests, one after the other: the first that fails ends it, and its error says which were accepted,
        which were not and which were not sent. Give the tasks ids of their own to be able to submit the rest again.
        call_timeout: for each request. Raises as `submit_task`.
        """
        specs = specs_of(tasks, self._clock.now_ms(), os.urandom)
        task_ids: list[str] = []
        for submit in submits(specs):
            try:
                submitted = self._submit(submit, call_timeout)
            except TqError as error:
                raise cut_short(error, submit, len(task_ids), len(specs)) from error
            task_ids += texts_of(submit, submitted)
        return task_ids

    # ------------------------------------------------------------ looking and waiting

    def get_task(
        self, task_id: str, *, with_payload: bool = False, call_timeout: Duration | None = None
    ) -> TaskInfo:
        """One task as it is now, result and attempts included. Raises TaskNotFound."""
        request = verbs.GetTask(ids.from_text(task_id), with_payload=with_payload)
        return TaskInfo(self._call(request, TaskView, call_timeout))

    def wait_for_result(self, task_id: str, timeout: Duration | None = None) -> bytes:
        """The result as soon as the task has completed; the broker tells, nothing is polled.

        timeout: None = as long as it takes. Lost connections are made again while waiting.
        Raises TaskFailed (dead letter, cancelled or expired; the text has cause and error), TimeoutError,
            TaskNotFound.
        """
        (task,) = self.wait_for_tasks([task_id], timeout)
        return task.result_or_raise()

    def wait_for_results(self, task_ids: Sequence[str], timeout: Duration | None = None) -> list[bytes]:
        """The results, in the order of the ids, as soon as all have ended.

        Raises TaskFailed for the first in that order that ended otherwise, TimeoutError, TaskNotFound.
        """
        return [task.result_or_raise() for task in self.wait_for_tasks(task_ids, timeout)]

    def wait_for_tasks(self, task_ids: Sequence[str], timeout: Duration | None = None) -> list[TaskInfo]:
        """The tasks, in the order of the ids, as soon as all have ended, however they ended.

        Raises TimeoutError, TaskNotFound.
        """
        wanted = [ids.from_text(task_id) for task_id in task_ids]
        within_s = WAIT_SECONDS_MAX if timeout is None else duration_s(timeout, "timeout")
        found: dict[bytes, TaskView] = {}
        self._channel().watch(wanted, found, min(within_s, WAIT_SECONDS_MAX))
        return [TaskInfo(found[task_id]) for task_id in wanted]

    def list_tasks(
        self,
        *,
        status: str = "",
        task_type: str = "",
        queue: str = "",
        limit: int = 100,
        offset: int = 0,
        cursor: int = 0,
        call_timeout: Duration | None = None,
    ) -> TaskList:
        """A page of tasks, newest first, without results.

        status: an outside word such as `pending` or `dead_letter`; empty = all. limit: 1-1000.
        cursor: the previous page's `next_cursor`; stays right while tasks come and go, an offset does not.
        """
        state = _state(status) if status else 0
        page = self._call(
            verbs.ListTasks(state, task_type, queue, limit, offset, cursor), verbs.TaskPage, call_timeout
        )
        return TaskList(tuple(TaskInfo(view) for view in page.tasks), page.total, page.next_cursor)

    # ------------------------------------------------------------ changing

    def cancel_task(self, task_id: str, *, force: bool = False, call_timeout: Duration | None = None) -> str:
        """End a task that waits, with force one that runs too; returns its status now.

        A running task's worker is told to stop. Raises TaskNotFound, InvalidStatus (it runs, or has ended).
        """
        wanted = ids.from_text(task_id)
        try:
            ref = self._call(verbs.Cancel(wanted, force), verbs.TaskRef, call_timeout)
        except OutcomeUnknown:
            # An earlier try of this call may have done it: then the task is as asked for.
            task = self.get_task(task_id, call_timeout=call_timeout)
            if task.view.state != CANCELLED:
                raise
            return task.status
        return STATUS_OF_STATE[ref.state]

    def retry_task(
        self, task_id: str, *, max_retries: int | None = None, call_timeout: Duration | None = None
    ) -> str:
        """Put a dead-lettered or cancelled task back to pending, its counters reset; returns its status now.

        max_retries: None keeps the task's own. Not sent again when its outcome is unknown: look with `get_task`.
        Raises TaskNotFound, InvalidStatus, OutcomeUnknown.
        """
        request = verbs.Retry(ids.from_text(task_id), -1 if max_retries is None else max_retries)
        return STATUS_OF_STATE[(self._call(request, verbs.TaskRef, call_timeout)).state]

    def purge(
        self,
        status: str,
        *,
        older_than: Duration = 0,
        queue: str = "",
        task_type: str = "",
        call_timeout: Duration | None = None,
    ) -> int:
        """Forget the tasks of this status (waiting ones are cancelled first); returns how many.

        older_than: only those not updated for so long. Goes in steps of a thousand, call_timeout for each.
        Raises OutcomeUnknown when a step was not answered; call again for the rest.
        """
        request = verbs.Purge(_state(status), duration_ms(older_than, "older_than"), queue, task_type)
        purged = 0
        for _ in range(PURGE_ROUNDS_MAX):
            step = self._call(request, verbs.Purged, call_timeout)
            purged += step.purged
            if not step.more:
                break
        return purged

    def pause_queue(self, queue: str, reason: str = "", *, call_timeout: Duration | None = None) -> None:
        """Hand out nothing from this queue until it is resumed; running tasks go on."""
        self._call(verbs.PauseQueue(queue, reason), verbs.Done, call_timeout)

    def resume_queue(self, queue: str, *, call_timeout: Duration | None = None) -> None:
        """Hand out from this queue again."""
        self._call(verbs.ResumeQueue(queue), verbs.Done, call_timeout)

    # ------------------------------------------------------------ the broker itself

    def stats(self, *, call_timeout: Duration | None = None) -> verbs.Stats:
        """Counts and ages, per queue too."""
        return self._call(verbs.GetStats(), verbs.Stats, call_timeout)

    def workers(self, *, call_timeout: Duration | None = None) -> tuple[verbs.WorkerView, ...]:
        """The workers the broker knows, those within their grace included."""
        return (self._call(verbs.ListWorkers(), verbs.Workers, call_timeout)).workers

    def drain_worker(self, worker: str, *, call_timeout: Duration | None = None) -> tuple[str, ...]:
        """Hand a worker nothing more; it finishes what it runs and goes. Returns the ids of its sessions.

        worker: its id, or one of its sessions'. One that is away is told when it comes back. Raises WorkerNotFound.
        """
        drained = self._call(verbs.DrainWorker(worker), verbs.Drained, call_timeout)
        return tuple(ids.to_text(session_id) for session_id in drained.session_ids)

    def cluster(self, *, call_timeout: Duration | None = None) -> verbs.Cluster:
        """The members and who leads."""
        return self._call(verbs.GetCluster(), verbs.Cluster, call_timeout)

    def health(self, *, call_timeout: Duration | None = None) -> verbs.Health:
        """Is the broker well; `problems` says in words what is not."""
        return self._call(verbs.GetHealth(), verbs.Health, call_timeout)

    def ping(self, *, call_timeout: Duration | None = None) -> None:
        """Return as soon as a broker has answered. Raises BrokerUnavailable when none does in time."""
        self._call(verbs.Ping(), verbs.Done, call_timeout)

    def backup(self, directory: str, *, call_timeout: Duration | None = BACKUP_SECONDS) -> verbs.BackedUp:
        """Write a consistent copy into a new directory on the broker's own disk."""
        return self._call(verbs.Backup(directory), verbs.BackedUp, call_timeout)

    def call(self, request: verbs.Request, *, call_timeout: Duration | None = None) -> verbs.Reply:
        """Any verb, as it is, with the same retries; for what has no method of its own."""
        within_s = self._timeout_s if call_timeout is None else duration_s(call_timeout, "call_timeout")
        return self._channel().call(request, within_s)

    # ------------------------------------------------------------ inside

    def _submit(self, submit: verbs.Submit, call_timeout: Duration | None) -> verbs.Submitted:
        if is_tracing():
            return self._submit_traced(submit, call_timeout)
        return self._call(submit, verbs.Submitted, call_timeout)

    def _submit_traced(self, submit: verbs.Submit, call_timeout: Duration | None) -> verbs.Submitted:
        with submitting(submit.tasks) as traced:
            return self._call(verbs.Submit(traced), verbs.Submitted, call_timeout)

    def _call(
        self, request: verbs.Request, reply_type: type[_Answer], call_timeout: Duration | None
    ) -> _Answer:
        """reply_type: what this request is answered with; the codec sees to it that nothing else is."""
        within_s = self._timeout_s if call_timeout is None else duration_s(call_timeout, "call_timeout")
        channel = self._channels.get(home()) or self._channel()
        return cast(_Answer, channel.call(request, within_s))

    def _channel(self) -> Channel:
        """The connections of where this runs: an event loop, or a process, has its own."""
        here = home()
        channel = self._channels.get(here)
        if channel is not None:
            return channel
        if self._is_closed:
            raise BadRequest("this client is closed; make a new one")
        # setdefault decides, in one step, between threads that come here at once.
        channel = self._channels.setdefault(here, Channel(self._options, self._rng))
        for elsewhere in [each for each in self._channels if is_gone(each)]:  # type: ignore[arg-type]
            gone = self._channels.pop(elsewhere, None)
            if gone is not None:
                gone.abandon()
        return channel


def _state(status: str) -> int:
    if status not in STATE_OF_STATUS:
        raise BadRequest(f"status is {status!r}; it is one of {', '.join(sorted(STATE_OF_STATUS))}")
    return STATE_OF_STATUS[status]
