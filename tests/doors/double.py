"""A small backend that keeps tasks in a dictionary: honest about the port's rules, nothing behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tq.broker.backend import Answer, Capabilities, Peer
from tq.errors import TaskNotFound, Unsupported
from tq.task import COMPLETED, IN_PROGRESS, PENDING, TaskSpec, TaskView
from tq.verbs import (
    Deliver,
    Delivery,
    Done,
    GetTask,
    Heartbeat,
    Ping,
    Register,
    Registered,
    Request,
    Settle,
    Settled,
    Submit,
    Submitted,
)


class MemoryBackend:
    """Implements `tq.broker.backend.Backend` for the verbs the door tests use.

    hold: answers wait until `release`, as they do while a real backend waits for its disk.
    """

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.tasks: dict[bytes, TaskSpec] = {}
        self.states: dict[bytes, int] = {}
        self.results: dict[bytes, bytes] = {}
        self.workers: dict[Peer, int] = {}
        self.gone: list[Peer] = []
        self.seen: list[Request] = []
        self.hold = False
        self.stopped = False
        self._held: list[Callable[[], None]] = []

    @property
    def depth(self) -> int:
        return sum(state == PENDING for state in self.states.values())

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        return sum(spec.task_id not in self.tasks for spec in tasks)

    @property
    def held_count(self) -> int:
        return len(self._held)

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        self.stopped = True
        self.release()

    def disconnected(self, peer: Peer) -> None:
        self.gone.append(peer)
        self.workers.pop(peer, None)

    def release(self, *, newest_first: bool = False) -> None:
        """Give the held answers, in order or in reverse, and hold no more."""
        self.hold = False
        held, self._held = self._held, []
        for answer in reversed(held) if newest_first else held:
            answer()

    def release_one(self) -> None:
        """Give the oldest held answer and go on holding the others."""
        self._held.pop(0)()

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        self.seen.append(request)
        if self.hold:
            self._held.append(lambda: self._act(peer, request, answer))
        else:
            self._act(peer, request, answer)

    def _act(self, peer: Peer, request: Request, answer: Answer) -> None:
        match request:
            case Submit(tasks):
                for task in tasks:
                    self.tasks[task.task_id] = task
                    self.states[task.task_id] = PENDING
                answer(Submitted(1, bytes([PENDING] * len(tasks))))
                self._hand_out()
            case GetTask(task_id):
                answer(
                    self._view(task_id) if task_id in self.tasks else TaskNotFound(f"no task {task_id.hex()}")
                )
            case Register():
                answer(Registered((), 5_000))
                self.workers[peer] = request.capacity
                self._hand_out()
            case Settle(items):
                for item in items:
                    self.states[item.task_id] = COMPLETED
                    self.results[item.task_id] = item.result
                    self.workers[peer] += 1
                answer(Settled(bytes(len(items))))
                self._hand_out()
            case Ping() | Heartbeat():
                answer(Done())
            case _:
                answer(Unsupported(f"the double has no {type(request).__name__}"))

    def _hand_out(self) -> None:
        waiting = [task_id for task_id, state in self.states.items() if state == PENDING]
        for peer in list(self.workers):
            taken, waiting = waiting[: self.workers[peer]], waiting[self.workers[peer] :]
            if taken:
                self.workers[peer] -= len(taken)
                self.states.update(dict.fromkeys(taken, IN_PROGRESS))
                peer.push(Deliver(tuple(self._delivery(task_id) for task_id in taken)))

    def _delivery(self, task_id: bytes) -> Delivery:
        task = self.tasks[task_id]
        return Delivery(task_id, 1, task.task_type, task.payload, 1, 1_000, task.queue, task.priority, 1, 3)

    def _view(self, task_id: bytes) -> TaskView:
        task = self.tasks[task_id]
        return TaskView(
            task_id=task_id,
            task_type=task.task_type,
            queue=task.queue,
            state=self.states[task_id],
            state_reason="",
            priority=task.priority,
            created_ms=1,
            updated_ms=1,
            schedule_at_ms=0,
            timeout_ms=task.timeout_ms,
            max_retries=task.max_retries,
            retry_count=0,
            worker_id="",
            result=self.results.get(task_id),
            payload=task.payload,
        )
