"""What each error of `tq.errors` is called at the doors that have status codes of their own: HTTP and gRPC.

One table, total over the tree (a test checks it), so that a new error class without a row fails the tests, and
the doors cannot come to different answers. Which request may be sent again is not said here: that is the error's
`outcome`, which every door passes on beside the status.
"""

from __future__ import annotations

from typing import NamedTuple

from tq import errors
from tq.errors import TqError


class DoorStatus(NamedTuple):
    """http: the status code. word: REST's `code`. grpc: the name of a `grpc.StatusCode`."""

    http: int
    word: str
    grpc: str


STATUS_OF: dict[str, DoorStatus] = {
    errors.BadRequest.code: DoorStatus(400, "BAD_REQUEST", "INVALID_ARGUMENT"),
    # Not RESOURCE_EXHAUSTED: clients take that for something that passes, and a payload does not shrink.
    errors.PayloadTooLarge.code: DoorStatus(413, "PAYLOAD_TOO_LARGE", "INVALID_ARGUMENT"),
    errors.TaskNotFound.code: DoorStatus(404, "TASK_NOT_FOUND", "NOT_FOUND"),
    errors.WorkerNotFound.code: DoorStatus(404, "WORKER_NOT_FOUND", "NOT_FOUND"),
    errors.InvalidStatus.code: DoorStatus(409, "INVALID_STATUS", "FAILED_PRECONDITION"),
    errors.LeaseLost.code: DoorStatus(409, "LEASE_LOST", "FAILED_PRECONDITION"),
    errors.Unsupported.code: DoorStatus(501, "UNSUPPORTED", "UNIMPLEMENTED"),
    errors.AuthenticationFailed.code: DoorStatus(401, "AUTHENTICATION_FAILED", "UNAUTHENTICATED"),
    errors.PermissionDenied.code: DoorStatus(403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
    errors.ProtocolError.code: DoorStatus(400, "BAD_REQUEST", "INVALID_ARGUMENT"),
    errors.QueueFull.code: DoorStatus(503, "QUEUE_DEPTH_EXCEEDED", "RESOURCE_EXHAUSTED"),
    errors.RateLimited.code: DoorStatus(429, "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"),
    errors.BrokerUnavailable.code: DoorStatus(503, "BROKER_UNAVAILABLE", "UNAVAILABLE"),
    # Callers of these doors do not choose a leader; to them a broker without one is unavailable.
    errors.NotLeader.code: DoorStatus(503, "BROKER_UNAVAILABLE", "UNAVAILABLE"),
    errors.TooManyConnections.code: DoorStatus(503, "BROKER_UNAVAILABLE", "UNAVAILABLE"),
    # DEADLINE_EXCEEDED is gRPC's word for "it may have been done all the same".
    errors.OutcomeUnknown.code: DoorStatus(504, "OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"),
    errors.TaskFailed.code: DoorStatus(409, "TASK_FAILED", "FAILED_PRECONDITION"),
    errors.StoreDamaged.code: DoorStatus(500, "STORE_DAMAGED", "DATA_LOSS"),
    TqError.code: DoorStatus(500, "INTERNAL", "INTERNAL"),
}
"""error code -> what the doors say."""


def status_of(error: TqError) -> DoorStatus:
    """The row of an error's class."""
    return STATUS_OF[error.code]
