"""What a worker's stream has to say, gathered while the message before is on its way, and cut into messages.

Rules of the file:
- A message holds at most MESSAGE_TASKS deliveries and about MESSAGE_BYTES of them, so that clients that keep their
  library's limit of 4 MiB can read all but the largest payloads.
- What waits is counted in bytes; `is_full` says when a reader is too slow for it. The number of deliveries is bounded
  by the worker's own capacity.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tq.broker.api.grpc.tasks_out import stamp
from tq.ids import to_text
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Delivery

MESSAGE_TASKS = 1_000
MESSAGE_BYTES = 1024 * 1024
OVERHEAD_BYTES = 200
"""A delivery without its payload and metadata, roughly."""


class Outbox:
    """bytes_max: from so many bytes of waiting deliveries on, it is full."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._deliveries: deque[Delivery] = deque()
        self._answers: list[pb.WorkAnswer] = []
        self._aborts: list[pb.Abort] = []
        self._draining: pb.Draining | None = None
        self._drain: pb.Drain | None = None

    @property
    def is_full(self) -> bool:
        return self._bytes > self._bytes_max

    def deliver(self, tasks: Iterable[Delivery]) -> None:
        for task in tasks:
            self._deliveries.append(task)
            self._bytes += _size_of(task)

    def abort(self, items: Iterable[tuple[bytes, int, str]]) -> None:
        self._aborts += [
            pb.Abort(task_id=to_text(task_id), token=token, reason=reason) for task_id, token, reason in items
        ]

    def answer(self, answer: pb.WorkAnswer) -> None:
        self._answers.append(answer)

    def stopping(self, retry_after_ms: int, reason: str) -> None:
        """The broker stops."""
        self._draining = pb.Draining(retry_after_ms=retry_after_ms, reason=reason)

    def drain(self, reason: str) -> None:
        """The worker is to go."""
        self._drain = pb.Drain(reason=reason)

    def next_message(self) -> bytes | None:
        """The next message's bytes, or None when there is nothing to say."""
        if not (self._deliveries or self._answers or self._aborts or self._draining or self._drain):
            return None
        message = pb.WorkResponse(
            answers=self._answers,
            aborts=self._aborts,
            deliveries=self._next_deliveries(),
            draining=self._draining,
            drain=self._drain,
        )
        self._answers, self._aborts, self._draining, self._drain = [], [], None, None
        return message.SerializeToString()

    def _next_deliveries(self) -> list[pb.Delivery]:
        made: list[pb.Delivery] = []
        size = 0
        while self._deliveries and len(made) < MESSAGE_TASKS:
            next_size = _size_of(self._deliveries[0])
            if made and size + next_size > MESSAGE_BYTES:
                break
            size += next_size
            made.append(_delivery(self._deliveries.popleft()))
        self._bytes -= size
        return made


def _size_of(task: Delivery) -> int:
    size = OVERHEAD_BYTES + len(task.payload)
    for name, value in task.metadata.items():
        size += len(name) + len(value)
    return size


def _delivery(task: Delivery) -> pb.Delivery:
    return pb.Delivery(
        task_id=to_text(task.task_id),
        token=task.token,
        task_type=task.task_type,
        payload=task.payload,
        attempt=task.attempt,
        timeout_seconds=task.timeout_ms / 1000,
        queue=task.queue,
        priority=task.priority,
        created_at=stamp(task.created_ms),
        max_retries=task.max_retries,
        metadata=task.metadata,
    )
