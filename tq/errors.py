"""Every error a caller can act on, in one tree.

A class is a thing a caller can do something about. It carries a stable ``code`` (what it is, the same word
at every door) and an ``outcome`` (what became of the request):

    TqError
      BadRequest            rejected     a field is wrong; the text names it
      PayloadTooLarge       rejected
      TaskNotFound          rejected
      WorkerNotFound        rejected
      InvalidStatus         rejected     the task's state does not allow it
      LeaseLost             rejected     somebody else holds the task now
      Unsupported           rejected     this backend cannot do it
      AuthenticationFailed  rejected
      PermissionDenied      rejected
      ProtocolError         rejected     the peer broke the wire's rules; the connection ends
      QueueFull             unavailable  try again after ``retry_after_ms``
      RateLimited           unavailable
      BrokerUnavailable     unavailable
        NotLeader           unavailable  ``leader`` says where to go
        TooManyConnections  unavailable
      OutcomeUnknown        unknown      may have happened: submit again with the same task id
      TaskFailed            rejected     raised by clients for a task that ended without a result
      StoreDamaged          rejected     data on disk is not what was written

The docstring of a class is its default message.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request that was not answered with success."""

    REJECTED = "rejected"
    """It did not happen and will not, however often it is sent."""
    UNAVAILABLE = "unavailable"
    """It did not happen; the same request may succeed later."""
    UNKNOWN = "unknown"
    """It may have happened; sending it again is safe only with the same task id."""


class TqError(Exception):
    """Something went wrong in tq."""

    code = "INTERNAL"
    outcome = Outcome.UNKNOWN

    def __init__(self, text: str = "", *, retry_after_ms: int = 0, leader: str = "") -> None:
        """text: what, which, and what to do. retry_after_ms: 0 = no advice. leader: host:port or empty."""
        super().__init__(text or (type(self).__doc__ or "").strip().splitlines()[0])
        self.retry_after_ms = retry_after_ms
        self.leader = leader

    @property
    def text(self) -> str:
        """The sentence for people."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.text, self.retry_after_ms, self.leader)


def _rebuild(kind: type[TqError], text: str, retry_after_ms: int, leader: str) -> TqError:
    return kind(text, retry_after_ms=retry_after_ms, leader=leader)


class BadRequest(TqError):
    """The request is not well-formed."""

    code = "BAD_REQUEST"
    outcome = Outcome.REJECTED


class PayloadTooLarge(TqError):
    """The payload is larger than the limit."""

    code = "PAYLOAD_TOO_LARGE"
    outcome = Outcome.REJECTED


class TaskNotFound(TqError):
    """No task has this id."""

    code = "TASK_NOT_FOUND"
    outcome = Outcome.REJECTED


class WorkerNotFound(TqError):
    """No worker has this id."""

    code = "WORKER_NOT_FOUND"
    outcome = Outcome.REJECTED


class InvalidStatus(TqError):
    """The task's status does not allow this."""

    code = "INVALID_STATUS"
    outcome = Outcome.REJECTED


class LeaseLost(TqError):
    """The lease on this task is no longer held."""

    code = "LEASE_LOST"
    outcome = Outcome.REJECTED


class Unsupported(TqError):
    """This broker's backend cannot do this."""

    code = "UNSUPPORTED"
    outcome = Outcome.REJECTED


class AuthenticationFailed(TqError):
    """The key is missing or not known."""

    code = "AUTHENTICATION_FAILED"
    outcome = Outcome.REJECTED


class PermissionDenied(TqError):
    """The key does not permit this."""

    code = "PERMISSION_DENIED"
    outcome = Outcome.REJECTED


class ProtocolError(TqError):
    """The peer broke the protocol."""

    code = "PROTOCOL_ERROR"
    outcome = Outcome.REJECTED


class QueueFull(TqError):
    """The broker holds as many waiting tasks as it is configured to."""

    code = "QUEUE_DEPTH_EXCEEDED"
    outcome = Outcome.UNAVAILABLE


class RateLimited(TqError):
    """Too many requests for this key."""

    code = "RATE_LIMIT_EXCEEDED"
    outcome = Outcome.UNAVAILABLE


class BrokerUnavailable(TqError):
    """The broker cannot take this now."""

    code = "BROKER_UNAVAILABLE"
    outcome = Outcome.UNAVAILABLE


class NotLeader(BrokerUnavailable):
    """This node does not lead the cluster."""

    code = "NOT_LEADER"


class TooManyConnections(BrokerUnavailable):
    """The broker has as many connections as it is configured to."""

    code = "TOO_MANY_CONNECTIONS"


class OutcomeUnknown(TqError):
    """The request may or may not have happened; submit again with the same task id."""

    code = "OUTCOME_UNKNOWN"
    outcome = Outcome.UNKNOWN


class TaskFailed(TqError):
    """The task ended without a result."""

    code = "TASK_FAILED"
    outcome = Outcome.REJECTED

    def __init__(
        self,
        text: str = "",
        *,
        retry_after_ms: int = 0,
        leader: str = "",
        task_id: str = "",
        status: str = "",
        cause: str = "",
        error: str = "",
    ) -> None:
        """task_id: UUID text. status: `dead_letter`, `cancelled`, `expired`. cause: of the last attempt, as in
        `tq.task.Cause` but lower case, empty = none was made. error: what the worker told, traceback and all."""
        super().__init__(text, retry_after_ms=retry_after_ms, leader=leader)
        self.task_id = task_id
        self.status = status
        self.cause = cause
        self.error = error

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_failed, (self.text, self.task_id, self.status, self.cause, self.error)


def _rebuild_failed(text: str, task_id: str, status: str, cause: str, error: str) -> TaskFailed:
    return TaskFailed(text, task_id=task_id, status=status, cause=cause, error=error)


class StoreDamaged(TqError):
    """Data on disk is not what was written."""

    code = "STORE_DAMAGED"
    outcome = Outcome.REJECTED


def _tree(base: type[TqError]) -> list[type[TqError]]:
    return [base] + [found for child in base.__subclasses__() for found in _tree(child)]


BY_CODE: dict[str, type[TqError]] = {kind.code: kind for kind in _tree(TqError)}
"""code -> class; total over the tree, and no code stands twice (a test checks both)."""


def from_code(code: str, text: str, *, retry_after_ms: int = 0, leader: str = "") -> TqError:
    """The error a peer named. An unknown code from a newer peer becomes OutcomeUnknown, the careful reading."""
    return BY_CODE.get(code, OutcomeUnknown)(text, retry_after_ms=retry_after_ms, leader=leader)
