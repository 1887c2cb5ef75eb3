"""`stackduck.StackDuckService`: seven calls, answered as its clients know them.

What was asked for wrongly is INVALID_ARGUMENT, and a key that is missing or may not is a status of its own. Every
other failure is OK with success = false, because that is what StackDuck's clients look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeAlias

from tq.broker.access import denial
from tq.broker.api.grpc.call import Handler
from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.grpc.exchange import Errand, exchange
from tq.broker.api.grpc.ids import read_id
from tq.broker.api.stackduck.consumers import Consumers, message_of
from tq.broker.api.stackduck.dequeues import IDLE_S, Dequeues
from tq.broker.api.stackduck.endings import Done, Endings
from tq.broker.api.stackduck.holdings import Holdings
from tq.broker.compat.stackduck.enqueue import task_of
from tq.broker.compat.stackduck.jobs import REFUSAL
from tq.broker.service import Caller
from tq.errors import AuthenticationFailed, BadRequest, PermissionDenied, TqError
from tq.ids import random_id, to_text
from tq.proto import stackduck_pb2 as pb
from tq.protocol.validate import check_tasks
from tq.verbs import Claim, Request, Submit, Submitted

Ending: TypeAlias = Callable[[Caller, bytes, str, Done], None]
EndRequest: TypeAlias = pb.CompleteJobRequest | pb.FailJobRequest | pb.RetryJobRequest
EndResponse: TypeAlias = pb.CompleteJobResponse | pb.FailJobResponse | pb.RetryJobResponse

DENIALS = (AuthenticationFailed, PermissionDenied)
"""Who may not is told by the status: StackDuck has no keys, and its clients no field for it."""
KEEP_S = 300.0
"""How often leases of open streams are kept: well within their half hour."""


class StackDuck:
    """One more service for `GrpcDoor`.

    new_id: makes the ids of jobs and sessions. idle_s: how long a session of DequeueJob outlives its last use.
    """

    name = pb.DESCRIPTOR.services_by_name["StackDuckService"].full_name

    def __init__(
        self, calls: Calls, *, new_id: Callable[[], bytes] = random_id, idle_s: float = IDLE_S
    ) -> None:
        self._calls = calls
        self._new_id = new_id
        self._holdings = Holdings()
        self._consumers = Consumers(calls, self._holdings, new_id=new_id)
        self._dequeues = Dequeues(calls.service, self._holdings, new_id=new_id, idle_s=idle_s)
        self._endings = Endings(calls.service, self._holdings)
        self._timer = asyncio.get_running_loop().call_later(KEEP_S, self._keep)

    def handlers(self) -> dict[str, Handler]:
        unary, streaming = self._calls.unary, self._calls.streaming
        return {
            "EnqueueJob": exchange(
                self._calls,
                pb.EnqueueJobRequest,
                self._submit_of,
                _enqueued,
                needs=Submit,
                excuse=_not_enqueued,
            ),
            "DequeueJob": unary(self.dequeue_job),
            "DequeueRetriedJob": unary(self.dequeue_retried_job),
            "ConsumeJobs": streaming(self._consumers.consume),
            "CompleteJob": self._end(pb.CompleteJobRequest, self._endings.complete, pb.CompleteJobResponse),
            "FailJob": self._end(pb.FailJobRequest, self._endings.fail, pb.FailJobResponse),
            "RetryJob": self._end(pb.RetryJobRequest, self._endings.retry, pb.RetryJobResponse),
        }

    def stop(self) -> None:
        self._timer.cancel()
        self._consumers.stop()
        self._dequeues.stop()

    def _keep(self) -> None:
        self._consumers.keep()
        self._dequeues.keep()
        self._timer = asyncio.get_running_loop().call_later(KEEP_S, self._keep)

    # ------------------------------------------------------------ jobs in

    def _submit_of(
        self, asked: pb.EnqueueJobRequest, _headers: Mapping[str, str]
    ) -> Submit | pb.EnqueueJobResponse:
        spec = task_of(
            self._new_id(),
            job_type=asked.job_type,
            payload=asked.payload,
            priority=asked.priority,
            delay=asked.delay,
            max_retries=asked.max_retries,
            scheduled_at=asked.scheduled_at,
        )
        try:
            return Submit(check_tasks((spec,)))
        except TqError as error:
            return _refusal_of(error)

    # ------------------------------------------------------------ jobs out

    async def dequeue_job(self, context: Context, data: bytes) -> pb.DequeueJobResponse:
        asked = parse(pb.DequeueJobRequest, data, self._calls)
        caller = await self._caller(context, Claim)
        try:
            job = await self._dequeues.take(caller, asked.queue_name)
        except TqError as error:
            _raise_denials(error)
            return pb.DequeueJobResponse(success=False, error_message=error.text)
        return pb.DequeueJobResponse(job=None if job is None else message_of(job), success=True)

    async def dequeue_retried_job(self, context: Context, data: bytes) -> pb.DequeueRetriedJobResponse:
        asked = parse(pb.DequeueRetriedJobRequest, data, self._calls)
        await self._caller(context, Claim)
        # It asks to wake the consumers of a job that is due again; here they need no waking.
        return pb.DequeueRetriedJobResponse(success=asked.HasField("job"))

    # ------------------------------------------------------------ endings

    def _end(self, kind: type[EndRequest], ending: Ending, response: type[EndResponse]) -> Handler:
        """The answer says whether it could be done: a bad id, an unknown job and a broker in trouble are all `no`."""

        def errand_of(asked: EndRequest, _headers: Mapping[str, str]) -> Errand | EndResponse:
            try:
                job_id = read_id(asked.job_id, "job_id")
            except BadRequest:
                return response(success=False)
            error = "" if isinstance(asked, pb.CompleteJobRequest) else asked.error_message
            return Errand(lambda caller, done: ending(caller, job_id, error, done))

        return exchange(
            self._calls,
            kind,
            errand_of,
            lambda _errand, is_done: response(success=is_done),
            needs=Claim,
            excuse=lambda error: None if isinstance(error, DENIALS) else response(success=False),
        )

    async def _caller(self, context: Context, verb: type[Request]) -> Caller:
        """Who calls, if they may do what the call is about. Raises what becomes the status."""
        caller = await self._calls.caller(context)
        if verb not in caller.principal.verbs:
            raise denial(caller.principal, verb)
        return caller


def _enqueued(request: Submit, _reply: Submitted) -> pb.EnqueueJobResponse:
    return pb.EnqueueJobResponse(job_id=to_text(request.tasks[0].task_id), success=True)


def _not_enqueued(error: TqError) -> pb.EnqueueJobResponse | None:
    return None if isinstance(error, DENIALS) else _refusal_of(error)


def _refusal_of(error: TqError) -> pb.EnqueueJobResponse:
    return pb.EnqueueJobResponse(success=False, error_message=REFUSAL + error.text)


def _raise_denials(error: TqError) -> None:
    if isinstance(error, DENIALS):
        raise error
