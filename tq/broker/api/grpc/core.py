"""grpcio's C core as its own Python servers use it: the only importer of grpcio's private names.

Why not `grpc.aio.server`: it accepts one call at a time, each by way of four tasks and as many turns of the loop, which
was three quarters of what a submit cost here and the bound of how many there could be (docs/grpc.md has the figures).
The names below are those of `grpc._server`, grpcio's synchronous server, which is written in Python over the same core.
constraints.txt pins the version; `tests/grpc/test_calls.py` shows what is relied upon.

- A *tag* is what an event comes back with; here always a callable that takes the event.
- The core never blocks in these calls, and completes every operation that was begun, with `success` false when the call
  is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

Tag: TypeAlias = Callable[[Any], None]
Metadata: TypeAlias = Sequence[tuple[str, str]]

CANCELLED = grpc.StatusCode.CANCELLED.value[0]
NO_FLAGS = 0
MORE_FOLLOWS: int = cygrpc.WriteFlag.buffer_hint


def completion_queue() -> Any:
    return cygrpc.CompletionQueue()


def next_event(queue: Any) -> Any:
    """Wait for one, without the interpreter's lock."""
    return queue.poll()


def waiting_event(queue: Any) -> Any | None:
    """One that is there already; None when there is none."""
    event = queue.poll(0.0)
    return None if event.completion_type == cygrpc.CompletionType.queue_timeout else event


def is_end(event: Any) -> bool:
    """Whether the queue was shut down and is empty."""
    return bool(event.completion_type == cygrpc.CompletionType.queue_shutdown)


def server(options: Sequence[tuple[str, int]], queue: Any) -> Any:
    made = cygrpc.Server(tuple(options), False)
    made.register_completion_queue(queue)
    return made


def listen(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """The port taken. Raises RuntimeError when there is none."""
    own = () if credentials is None else (credentials._credentials,)  # type: ignore[attr-defined]
    port = int(server.add_http2_port(address.encode(), *own))
    if not port:
        raise RuntimeError(f"{address} could not be bound")
    return port


def receive_message(call: Any, tag: Tag) -> None:
    """The event's message is `message_of` it."""
    call.start_server_batch((cygrpc.ReceiveMessageOperation(NO_FLAGS),), tag)


def message_of(event: Any) -> bytes | None:
    """None when the peer has closed its side, or is gone."""
    found: bytes | None = event.batch_operations[0].message()
    return found


def receive_close(call: Any, tag: Tag) -> None:
    """Comes once for every call, when it is over; `was_cut` says how."""
    call.start_server_batch((_close(),), tag)


def was_cut(event: Any) -> bool:
    """Whether it ended without our status: the peer left, its deadline passed, or the connection broke."""
    return bool(event.batch_operations[0].cancelled())


def send(call: Any, data: bytes, tag: Tag, *, is_first: bool, more_follows: bool) -> None:
    """One message of a stream. more_follows: it may stay here until the next one, which must come."""
    # The first one leaves at once: behind headers that are kept back the core does not say that it has taken it.
    may_stay = more_follows and not is_first
    message = cygrpc.SendMessageOperation(data, MORE_FOLLOWS if may_stay else NO_FLAGS)
    call.start_server_batch((_initial(), message) if is_first else (message,), tag)


def send_last(call: Any, data: bytes, tag: Tag, *, with_close: bool) -> None:
    """The answer of a call that has no other, with the status OK. with_close: as `receive_close`, in the same event."""
    answer = (_initial(), cygrpc.SendMessageOperation(data, NO_FLAGS), _status())
    call.start_server_batch((*answer, _close()) if with_close else answer, tag)


def send_status(
    call: Any,
    tag: Tag,
    *,
    is_first: bool,
    with_close: bool,
    code: int = 0,
    details: str = "",
    trailing: Metadata = (),
) -> None:
    """End the call. with_close: as `send_last` has it."""
    operations = [_initial()] if is_first else []
    operations.append(_status(code, details, trailing))
    if with_close:
        operations.append(_close())
    call.start_server_batch(tuple(operations), tag)


def cancel(call: Any) -> None:
    """End the call without a status of ours."""
    call.cancel(CANCELLED, "")


def _initial() -> Any:
    return cygrpc.SendInitialMetadataOperation(None, NO_FLAGS)


def _close() -> Any:
    return cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS)


def _status(code: int = 0, details: str = "", trailing: Metadata = ()) -> Any:
    return cygrpc.SendStatusFromServerOperation(tuple(trailing) or None, code, details.encode(), NO_FLAGS)
