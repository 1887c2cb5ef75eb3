"""One WorkRequest under way: its parts are answered one by one, the whole of it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tq.errors import TqError
from tq.ids import to_text
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import SETTLED_LEASE_LOST, Extend, Registered, Reply, Settle, Settled


class Parts:
    """Counts the parts that are not answered yet and gathers what they came to.

    on_done: called once, with the answer to send or None, when the last part is answered and `close` was called.
    """

    __slots__ = ("_answer", "_is_noteworthy", "_on_done", "_open")

    def __init__(self, request_id: int, on_done: Callable[[pb.WorkAnswer | None], None]) -> None:
        self._answer = pb.WorkAnswer(request_id=request_id)
        self._is_noteworthy = request_id != 0
        self._on_done = on_done
        self._open = 1  # the message itself, until all its parts have been begun

    def begin(self) -> None:
        """One more part is on its way."""
        self._open += 1

    def end(self, reply: Reply | TqError) -> None:
        """A part that has nothing to tell but an error."""
        if isinstance(reply, TqError):
            self.refuse(reply)
        self.close()

    def settled(self, asked: Settle | Extend, reply: Reply | TqError) -> None:
        """Settlements or extensions: those that no longer were this worker's are told."""
        if isinstance(reply, Settled) and any(reply.codes):
            self._is_noteworthy = True
            leases = [(item[0], item[1]) for item in asked.items]
            self._lose(
                lease for lease, code in zip(leases, reply.codes, strict=True) if code == SETTLED_LEASE_LOST
            )
        self.end(reply)

    def registered(self, reply: Registered) -> None:
        """A register part, which is always worth an answer."""
        self._is_noteworthy = True
        self._answer.registered.grace_seconds = reply.grace_ms / 1000
        self._lose(reply.lost)

    def _lose(self, leases: Iterable[tuple[bytes, int]]) -> None:
        self._answer.lost.extend(pb.Lease(task_id=to_text(task_id), token=token) for task_id, token in leases)

    def refuse(self, error: TqError) -> None:
        """A part failed; the first that did is told."""
        self._is_noteworthy = True
        if not self._answer.HasField("error"):
            self._answer.error.code = error.code
            self._answer.error.outcome = str(error.outcome)
            self._answer.error.text = error.text
            self._answer.error.retry_after_ms = error.retry_after_ms

    def close(self) -> None:
        """One part, or the message itself, is done."""
        self._open -= 1
        if not self._open:
            self._on_done(self._answer if self._is_noteworthy else None)
