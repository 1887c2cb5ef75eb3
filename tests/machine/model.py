"""What a queue is, in lists and dicts, with no thought for speed: what the machine is compared with.

The model does not choose which worker gets a task: it is told (`lease`) and checks that the choice was allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tq.broker.machine.checkout import LEASE_SLACK_MS
from tq.retry import DEFAULT_RETRY, delay_ms
from tq.task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    CRASH_LIMIT,
    DEAD_LETTER,
    EXPIRED,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
    Cause,
    EndedTask,
    TaskSpec,
)

FIELD = {
    Cause.ERROR: 0,
    Cause.FATAL: 0,
    Cause.TIMEOUT: 1,
    Cause.CRASH: 2,
    Cause.LEASE_LOST: 3,
    Cause.RELEASED: 4,
}
FIELD[Cause.SNOOZED] = 5


@dataclass
class Task:
    spec: TaskSpec
    born: int
    max_retries: int
    schedule_ms: int
    expires_ms: int
    waits_for: list[bytes]
    unique_key: str
    state: int = PENDING
    place: int = 0
    due_ms: int = 0
    attempts: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * 6)
    lease: tuple[bytes, int, int] | None = None
    """session, token, deadline"""

    @property
    def rank(self) -> tuple[int, int]:
        return -self.spec.priority, self.place


@dataclass
class Worker:
    queues: tuple[str, ...]
    types: tuple[str, ...]
    capacity: int
    credit: int = 0
    draining: bool = False
    slots: list[tuple[bytes, int]] = field(default_factory=list)
    """(task, token) of all it was handed and has not settled, whoever the task belongs to by now"""


class Model:
    def __init__(self) -> None:
        self.clock_ms = 0
        self.ticket = 0
        self.tasks: dict[bytes, Task] = {}
        self.workers: dict[bytes, Worker] = {}
        self.keys: dict[str, tuple[bytes, int]] = {}
        self.paused: list[str] = []

    def next_ticket(self) -> int:
        self.ticket += 1
        return self.ticket

    def live(self, task_id: bytes) -> bool:
        return task_id in self.tasks and self.tasks[task_id].state < COMPLETED

    # ------------------------------------------------------------ submitting

    def submit(self, specs: tuple[TaskSpec, ...]) -> list[tuple[bytes, int]] | None:
        """(id, state) for each; None = refused."""
        known = set(self.tasks)
        for spec in specs:
            if spec.task_id not in self.tasks and not known.issuperset(spec.dependencies):
                return None
            known.add(spec.task_id)
        alias: dict[bytes, bytes] = {}
        answers = []
        for spec in specs:
            task_id = self.same(spec)
            if task_id not in self.tasks:
                dependencies = tuple(alias.get(one, one) for one in spec.dependencies)
                self.add(spec._replace(dependencies=dependencies))
            alias[spec.task_id] = task_id
            answers.append((task_id, self.tasks[task_id].state))
        return answers

    def same(self, spec: TaskSpec) -> bytes:
        if spec.task_id not in self.tasks and spec.unique_key in self.keys:
            holder, until_ms = self.keys[spec.unique_key]
            if holder in self.tasks and (self.live(holder) or until_ms > self.clock_ms):
                return holder
        return spec.task_id

    def add(self, spec: TaskSpec) -> None:
        schedule_ms = spec.schedule_at_ms or (self.clock_ms + spec.delay_ms if spec.delay_ms else 0)
        waits_for = [one for one in dict.fromkeys(spec.dependencies) if self.live(one)]
        ended = [self.tasks[one] for one in spec.dependencies if not self.live(one)]
        task = Task(
            spec,
            self.next_ticket(),
            spec.max_retries,
            schedule_ms,
            spec.expires_at_ms,
            waits_for,
            spec.unique_key,
        )
        self.tasks[spec.task_id] = task
        task.place = task.born
        if spec.unique_key:
            self.keys[spec.unique_key] = (
                spec.task_id,
                self.clock_ms + spec.unique_ttl_ms if spec.unique_ttl_ms else 0,
            )
        if waits_for:
            task.state = BLOCKED
        elif schedule_ms > self.clock_ms:
            task.state, task.due_ms = SCHEDULED, schedule_ms
        if any(one.state != COMPLETED for one in ended):
            self.end(task, DEAD_LETTER)
        elif 0 < task.expires_ms <= self.clock_ms:
            self.end(task, EXPIRED)

    # ------------------------------------------------------------ ends and hand-backs

    def end(self, task: Task, state: int) -> None:
        task.state, task.lease, task_id = state, None, task.spec.task_id
        if task.unique_key and self.keys[task.unique_key][1] <= self.clock_ms:
            del self.keys[task.unique_key]
        hanging = [one for one in self.tasks.values() if one.state == BLOCKED and task_id in one.waits_for]
        for other in sorted(hanging, key=lambda one: one.born):
            if other.state != BLOCKED:
                continue
            other.waits_for.remove(task_id)
            if state != COMPLETED:
                self.end(other, DEAD_LETTER)
            elif not other.waits_for and other.schedule_ms > self.clock_ms:
                other.state, other.due_ms = SCHEDULED, other.schedule_ms
            elif not other.waits_for:
                self.ready(other)

    def ready(self, task: Task) -> None:
        task.state, task.place = PENDING, self.next_ticket()

    def conclude(self, task: Task, cause: int, delay: int) -> None:
        task.lease = None
        if cause in FIELD:
            task.counts[FIELD[Cause(cause)]] += 1
        errors, timeouts, crashes, lost, _, snoozes = task.counts
        policy = task.spec.retry or DEFAULT_RETRY
        if cause == Cause.DONE:
            self.end(task, COMPLETED)
        elif cause in (Cause.ERROR, Cause.TIMEOUT):
            if errors + timeouts > task.max_retries:
                self.end(task, DEAD_LETTER)
            else:
                wait = delay if delay >= 0 else delay_ms(policy, errors + timeouts, task.spec.task_id)
                task.state, task.due_ms = RETRYING, self.clock_ms + wait
        elif cause == Cause.FATAL or (
            cause in (Cause.CRASH, Cause.LEASE_LOST) and crashes + lost >= CRASH_LIMIT
        ):
            self.end(task, DEAD_LETTER)
        elif cause == Cause.CANCELLED:
            self.end(task, CANCELLED)
        else:
            if cause == Cause.SNOOZED and delay < 0:
                delay = delay_ms(policy, snoozes, task.spec.task_id)
            if cause in (Cause.SNOOZED, Cause.RELEASED) and delay > 0:
                task.state, task.due_ms = SCHEDULED, self.clock_ms + delay
            else:
                task.state = PENDING

    # ------------------------------------------------------------ workers

    def holds(self, session: bytes, task_id: bytes, token: int) -> Task | None:
        task = self.tasks.get(task_id)
        ours = task is not None and task.lease is not None and task.lease[:2] == (session, token)
        return task if ours else None

    def open(
        self,
        session: bytes,
        queues: tuple[str, ...],
        types: tuple[str, ...],
        capacity: int,
        holds: list[tuple[bytes, int]],
    ) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
        """(what is lost to it, what must be delivered again)"""
        before = self.workers.get(session, Worker(queues, types, capacity))
        kept = [one for one in before.slots if self.holds(session, *one)]
        self.workers[session] = Worker(queues, types, capacity, 0, before.draining, kept)
        return [one for one in holds if one not in kept], [one for one in kept if one not in holds]

    def close(self, session: bytes, cause: int) -> None:
        worker = self.workers.pop(session, None)
        leases = [self.holds(session, *one) for one in worker.slots] if worker else []
        for task in sorted((one for one in leases if one), key=lambda one: one.place):
            self.conclude(task, cause, -1)

    def settle(self, session: bytes, items: list[tuple[bytes, int, int, int]]) -> list[int]:
        codes = []
        for task_id, token, cause, delay in items:
            task = self.holds(session, task_id, token)
            if session in self.workers and (task_id, token) in self.workers[session].slots:
                self.workers[session].slots.remove((task_id, token))
            if task:
                self.conclude(task, cause, delay)
            codes.append(0 if task else 1)
        return codes

    def extend(self, session: bytes, items: list[tuple[bytes, int, int]]) -> list[int]:
        tasks = [self.holds(session, task_id, token) for task_id, token, _ in items]
        for task, (_, token, ms) in zip(tasks, items, strict=True):
            if task:
                task.lease = (session, token, self.clock_ms + ms)
        return [0 if task else 1 for task in tasks]

    def room(self, session: bytes) -> int:
        worker = self.workers[session]
        return 0 if worker.draining else max(0, worker.capacity - len(worker.slots)) + worker.credit

    def can_take(self, session: bytes) -> list[Task]:
        worker = self.workers[session]
        return [
            task
            for task in self.tasks.values()
            if task.state == PENDING and task.spec.queue in worker.queues and task.spec.task_type in worker.types
            and task.spec.queue not in self.paused
        ]  # fmt: skip

    def lease(self, session: bytes, task_id: bytes, token: int) -> None:
        """The machine says this session got this task."""
        task, worker = self.tasks[task_id], self.workers[session]
        assert task in self.can_take(session), (
            "only a ready task of a type it serves, from a queue not paused"
        )
        assert self.room(session), "only into a free slot"
        assert not self.overdue(task), "nothing starts after it has expired"
        if len(worker.slots) >= worker.capacity:
            worker.credit -= 1
        worker.slots.append((task_id, token))
        task.state, task.attempts = IN_PROGRESS, task.attempts + 1
        task.lease = (session, token, self.clock_ms + task.spec.timeout_ms + LEASE_SLACK_MS)

    # ------------------------------------------------------------ operators and time

    def cancel(self, task_id: bytes, force: bool) -> str:
        if task_id not in self.tasks:
            return "unknown"
        task = self.tasks[task_id]
        if not self.live(task_id) or (task.state == IN_PROGRESS and not force):
            return "not now"
        self.end(task, CANCELLED)
        return "done"

    def retry(self, task_id: bytes, max_retries: int) -> str:
        if task_id not in self.tasks:
            return "unknown"
        task = self.tasks[task_id]
        before = [self.tasks[one] for one in task.spec.dependencies if one in self.tasks]
        # A dependency that was purged and submitted anew is another task than the one this waited for.
        before = [one for one in before if one.born < task.born]
        if task.state not in (DEAD_LETTER, CANCELLED) or any(one.state > COMPLETED for one in before):
            return "not now"
        holder, until_ms = self.keys.get(task.unique_key, (task_id, 0))
        if task.unique_key and holder != task_id and (self.live(holder) or until_ms > self.clock_ms):
            return "not now"
        task.counts = [0] * 6
        task.max_retries = task.max_retries if max_retries < 0 else max_retries
        task.schedule_ms, task.expires_ms = 0, 0
        if task.unique_key and self.keys.get(task.unique_key, (b"", 0))[0] != task_id:
            self.keys[task.unique_key] = (task_id, 0)
        self.ready(task)
        task.waits_for = list(dict.fromkeys(one.spec.task_id for one in before if one.state < COMPLETED))
        if task.waits_for:
            task.state = BLOCKED
        return "done"

    def forget(self, task_ids: tuple[bytes, ...]) -> int:
        gone = [one for one in dict.fromkeys(task_ids) if one in self.tasks and not self.live(one)]
        for task_id in gone:
            del self.tasks[task_id]
            self.keys = {key: one for key, one in self.keys.items() if one[0] != task_id}
        return len(gone)

    def take_in(self, tasks: tuple[EndedTask, ...]) -> int:
        fresh = {one.task_id: one for one in reversed(tasks) if one.task_id not in self.tasks}
        for one in fresh.values():
            spec = TaskSpec(one.task_id, one.task_type, queue=one.queue, priority=one.priority)
            task = Task(spec, self.next_ticket(), one.max_retries, 0, 0, [], "", state=one.state)
            task.attempts, task.counts[0] = one.failures + (one.state == COMPLETED), one.failures
            self.tasks[one.task_id] = task
        return len(fresh)

    def pause(self, queue: str, paused: bool) -> None:
        self.paused = [one for one in self.paused if one != queue] + [queue] * paused

    def overdue(self, task: Task) -> bool:
        return 0 < task.expires_ms <= self.clock_ms and not task.attempts and task.state < COMPLETED

    def tick(self) -> None:
        leased = [one for one in self.tasks.values() if one.lease]
        for task in sorted(leased, key=lambda one: (one.lease[2] // 1000, one.born) if one.lease else (0, 0)):
            if task.lease and (task.lease[2] // 1000 + 1) * 1000 <= self.clock_ms:
                self.conclude(task, Cause.TIMEOUT, -1)
        due = [
            (one.due_ms, one.born, 0, one)
            for one in self.tasks.values()
            if one.state in (SCHEDULED, RETRYING)
        ]
        due += [(one.expires_ms, one.born, 1, one) for one in self.tasks.values() if self.overdue(one)]
        for when_ms, _, is_expiry, task in sorted(due, key=lambda one: one[:3]):
            if is_expiry and self.overdue(task):
                self.end(task, EXPIRED)
            elif not is_expiry and when_ms <= self.clock_ms and task.state in (SCHEDULED, RETRYING):
                self.ready(task)
        held = [
            (key, one) for key, one in self.keys.items() if not self.live(one[0]) and one[1] <= self.clock_ms
        ]
        for key, _ in held:
            del self.keys[key]
