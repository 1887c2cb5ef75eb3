"""One connection's questions and answers, without I/O: who waits for which answer, and what each gets if none comes.

Both links (asyncio and blocking) are shells around an Exchange. It is not thread-safe: the shell sees to it that
one thread at a time is inside. The rule it keeps: every waiter given to it is settled exactly once, whatever
happens to the connection:

    answered                                the reply, or the error the broker named
    not answered before its deadline        OutcomeUnknown
    connection lost, bytes handed out       OutcomeUnknown
    connection lost, bytes still here       BrokerUnavailable
    a watch, connection lost                BrokerUnavailable (watching changes nothing)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from tq import ids
from tq.client.gathering import Gathering
from tq.client.waiter import Waiter
from tq.errors import BrokerUnavailable, OutcomeUnknown, TaskNotFound, TqError
from tq.protocol import limits
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Failed, PushReceived, ReplyReceived, Welcomed
from tq.task import TaskView
from tq.verbs import Done, Draining, Push, Reply, Request, Submit, TaskEnded, Watch, Watching
from tq.version import VERSION

WATCH_IDS_MAX = 1_000
"""Ids in one Watch frame: its answer may carry every result, and should stay far from the frame limit."""


class Vigil:
    """One wait for the end of some tasks. found: task id -> its view, filled as they end; the caller's own."""

    __slots__ = ("found", "missing", "waiter")

    def __init__(self, task_ids: Sequence[bytes], found: dict[bytes, TaskView], waiter: Waiter) -> None:
        self.missing = set(task_ids)
        self.found = found
        self.waiter = waiter


class Exchange:
    """Requests out, answers to their waiters, pushes to `on_push` (Draining and TaskEnded are taken note of too)."""

    def __init__(self, peer: str, on_push: Callable[[Push], None] | None = None) -> None:
        """peer: the address, for error texts."""
        self._peer = peer
        self._on_push = on_push
        self._connection = Connection(Role.PEER)
        self._waiting: dict[int, Waiter] = {}
        self._vigils: dict[bytes, list[Vigil]] = {}
        self._unasked: list[bytes] = []
        self._gathering = Gathering()
        self._last_id = 0
        self._handed_out_id = 0
        self.requests_max = limits.REQUESTS_MAX
        """How many may be in flight: the protocol's limit, or the broker's if that is lower."""
        self.welcomed: Welcomed | None = None
        """The broker's greeting; None before."""
        self.end: TqError | None = None
        """Why the connection is over; None while it lives."""
        self.draining: Draining | None = None
        """What the broker said when it began to stop."""

    # ------------------------------------------------------------ out

    def hello(self, *, role: str, token: str, name: str) -> None:
        """Introduce this side; `welcomed` or `end` tells how it went."""
        self._connection.start_hello(role, token, name, f"tq-python/{VERSION}")

    def ask(self, request: Request, waiter: Waiter) -> None:
        """Queue one request. Raises what forbids sending it; the waiter is then not kept and nothing was sent.

        Submits of one task, asked before the next `data_to_send`, share frames; all else keeps its place.
        """
        if self.end is not None:
            raise BrokerUnavailable(f"the connection to {self._peer} is closed: {self.end.text}")
        if type(request) is Submit and len(request.tasks) == 1:
            if not self._gathering.takes(request, waiter):
                self._send_gathered()
                self._gathering.takes(request, waiter)
            return
        if self._gathering.specs:
            self._send_gathered()
        self._ask_now(request, waiter)

    def watch(self, vigil: Vigil) -> None:
        """Wait for the end of tasks. All watches begun before the next `data_to_send` share frames.

        Settles with Done when every view is found, with TaskNotFound when the broker does not know one of them.
        """
        if self.end is not None:
            raise BrokerUnavailable(f"the connection to {self._peer} is closed: {self.end.text}")
        for task_id in vigil.missing:
            vigils = self._vigils.get(task_id)
            if vigils is None:
                self._vigils[task_id] = [vigil]
                self._unasked.append(task_id)
            else:
                vigils.append(vigil)

    def forget(self, vigil: Vigil) -> None:
        """Stop waiting; nothing is settled. The broker's later push for it is ignored."""
        for task_id in vigil.missing:
            vigils = self._vigils.get(task_id, [])
            if vigil in vigils:
                vigils.remove(vigil)
            if not vigils:
                self._vigils.pop(task_id, None)

    def close(self, error: TqError) -> None:
        """Say goodbye and end; what is unanswered is settled. The goodbye is in `data_to_send`."""
        if self.end is None:
            self._connection.send_close()
            self.lost(error)

    def data_to_send(self) -> bytes:
        """Everything queued. From here on these requests count as sent."""
        if self._gathering.specs:
            self._send_gathered()
        if self._unasked:
            self._ask_unasked()
        self._handed_out_id = self._last_id
        return self._connection.data_to_send()

    @property
    def has_answers_to_send(self) -> bool:
        """Reading queued bytes: the broker asked whether this side lives."""
        return self._connection.pending_out_bytes > 0

    # ------------------------------------------------------------ in

    def receive(self, data: bytes) -> None:
        """Bytes arrived."""
        for event in self._connection.receive(data):
            kind = type(event)
            if kind is ReplyReceived:
                waiter = self._waiting.pop(event.request_id, None)  # type: ignore[union-attr]
                if waiter is not None:
                    waiter.settle(event.reply)  # type: ignore[union-attr]
            elif isinstance(event, PushReceived):
                self._push(event.push)
            elif isinstance(event, Welcomed):
                self.welcomed = event
                self.requests_max = min(event.requests_max or limits.REQUESTS_MAX, limits.REQUESTS_MAX)
            elif isinstance(event, CloseReceived):
                self.lost(event.error or BrokerUnavailable(f"{self._peer} closed the connection"))
            elif isinstance(event, Failed):
                self.lost(event.error)

    def lost(self, cause: TqError) -> None:
        """The connection is gone: settle everybody. The first cause is kept; later calls do nothing."""
        if self.end is not None:
            return
        self.end = cause
        waiting, self._waiting = self._waiting, {}
        watching, self._vigils = self._vigils, {}
        self._unasked.clear()
        self._strand_gathered(cause)
        for request_id, waiter in waiting.items():
            if request_id > self._handed_out_id:
                waiter.settle(
                    BrokerUnavailable(f"not sent: the connection to {self._peer} ended: {cause.text}")
                )
            else:
                waiter.settle(
                    OutcomeUnknown(f"no answer before the connection to {self._peer} ended: {cause.text}")
                )
        for vigil in _each_once(watching):
            vigil.waiter.settle(BrokerUnavailable(f"the connection to {self._peer} ended: {cause.text}"))

    # ------------------------------------------------------------ time

    def expire(self, now: float) -> float:
        """Settle what is past its deadline; returns the earliest deadline left, inf = none."""
        earliest = inf
        for request_id, waiter in list(self._waiting.items()):
            if waiter.deadline <= now:
                del self._waiting[request_id]
                waiter.settle(OutcomeUnknown(f"{self._peer} did not answer in time"))
            elif waiter.deadline < earliest:
                earliest = waiter.deadline
        for vigil in _each_once(self._vigils):
            if vigil.waiter.deadline <= now:
                self.forget(vigil)
                vigil.waiter.settle(BrokerUnavailable("the tasks did not end in time"))
            elif vigil.waiter.deadline < earliest:
                earliest = vigil.waiter.deadline
        return earliest

    @property
    def waiting_count(self) -> int:
        """Requests not answered, those counted in that have not left."""
        return len(self._waiting) + len(self._gathering.specs)

    # ------------------------------------------------------------ submitting

    def _ask_now(self, request: Request, waiter: Waiter) -> None:
        self._last_id = request_id = self._connection.send_request(request)
        self._waiting[request_id] = waiter

    def _send_gathered(self) -> None:
        self._ask_or_settle(*self._gathering.leave(self._ask_or_settle))

    def _ask_or_settle(self, request: Submit, waiter: Waiter) -> None:
        """As `ask`, at once, for a waiter that was promised an answer."""
        try:
            self._ask_now(request, waiter)
        except TqError as error:
            waiter.settle(error)

    def _strand_gathered(self, cause: TqError) -> None:
        if self._gathering.specs:
            _, waiter = self._gathering.leave(self._ask_or_settle)
            waiter.settle(BrokerUnavailable(f"not sent: the connection to {self._peer} ended: {cause.text}"))

    # ------------------------------------------------------------ watching

    def _push(self, push: Push) -> None:
        if isinstance(push, TaskEnded):
            self._ended(push.tasks)
        elif isinstance(push, Draining):
            self.draining = push
        if self._on_push is not None:
            self._on_push(push)

    def _ask_unasked(self) -> None:
        task_ids, self._unasked = self._unasked, []
        for start in range(0, len(task_ids), WATCH_IDS_MAX):
            chunk = tuple(task_ids[start : start + WATCH_IDS_MAX])
            asked = _Asked(self, chunk)
            try:
                self.ask(Watch(chunk), asked)
            except TqError as error:
                asked.settle(error)

    def _ended(self, views: Sequence[TaskView]) -> None:
        for view in views:
            for vigil in self._vigils.pop(view.task_id, ()):
                vigil.found[view.task_id] = view
                vigil.missing.discard(view.task_id)
                if not vigil.missing:
                    vigil.waiter.settle(Done())

    def _watch_answered(self, task_ids: Sequence[bytes], answer: Reply | TqError) -> None:
        if isinstance(answer, Watching):
            self._ended(answer.ended)
            for task_id in answer.unknown:
                self._abandon(task_id, TaskNotFound(f"no task has the id {ids.to_text(task_id)}"))
        elif isinstance(answer, TqError):
            for task_id in task_ids:
                self._abandon(task_id, answer)

    def _abandon(self, task_id: bytes, error: TqError) -> None:
        for vigil in tuple(self._vigils.get(task_id, ())):
            self.forget(vigil)
            # Each waiter its own: an exception raised in two places would mix their tracebacks.
            vigil.waiter.settle(
                type(error)(error.text, retry_after_ms=error.retry_after_ms, leader=error.leader)
            )


class _Asked:
    """Waits for the answer to one Watch frame; the vigils' own deadlines bound it."""

    __slots__ = ("_exchange", "_task_ids")
    deadline = inf

    def __init__(self, exchange: Exchange, task_ids: tuple[bytes, ...]) -> None:
        self._exchange = exchange
        self._task_ids = task_ids

    def settle(self, answer: Reply | TqError) -> None:
        self._exchange._watch_answered(self._task_ids, answer)


def _each_once(vigils: dict[bytes, list[Vigil]]) -> list[Vigil]:
    return list({id(vigil): vigil for of_task in vigils.values() for vigil in of_task}.values())
