"""Submitting: one or many, all or none, the same id or unique key twice is the task that exists."""

from __future__ import annotations

from tq.broker.machine.commands import SubmitTasks
from tq.broker.machine.ending import end_task, unmet
from tq.broker.machine.heads import Extras, Head
from tq.broker.machine.state import State, UniqueHold
from tq.broker.machine.timers import DUE, EXPIRY
from tq.broker.tables import Table
from tq.errors import BadRequest
from tq.ids import to_text
from tq.task import BLOCKED, COMPLETED, DEAD_LETTER, EXPIRED, PENDING, SCHEDULED, TaskSpec
from tq.verbs import Existing, Submitted


def submit_tasks(state: State, command: SubmitTasks) -> Submitted | BadRequest:
    tasks = command.tasks
    refusal = _refusal(state, tasks)
    if refusal is not None:
        return refusal
    states = bytearray()
    existing: list[Existing] = []
    for position, spec in enumerate(tasks):
        found = _existing(state, spec, position)
        if found is None:
            states.append(_add(state, spec))
        else:
            existing.append(found[0])
            states.append(found[1])
    return Submitted(state.clock_ms, bytes(states), tuple(existing))


def _refusal(state: State, tasks: tuple[TaskSpec, ...]) -> BadRequest | None:
    """Why none of the batch can be taken: a dependency that does not exist and comes no earlier in it."""
    if not any(spec.dependencies for spec in tasks):
        return None
    earlier: dict[bytes, None] = {}
    for position, spec in enumerate(tasks):
        for dependency in spec.dependencies:
            if dependency in earlier or dependency in state.heads or state.find_ended(dependency):
                continue
            return BadRequest(
                f"tasks[{position}].dependencies: no task {to_text(dependency)}; a dependency must exist or stand"
                " earlier in the same batch"
            )
        earlier[spec.task_id] = None
    return None


def _existing(state: State, spec: TaskSpec, position: int) -> tuple[Existing, int] | None:
    """The task that this spec is already, with its state."""
    found = _look_up(state, spec.task_id, position)
    if found is not None or not spec.unique_key:
        return found
    held = state.unique.get(spec.unique_key)
    if held is None or (held.until_ms <= state.clock_ms and held.task_id not in state.heads):
        return None
    return _look_up(state, held.task_id, position)


def _look_up(state: State, task_id: bytes, position: int) -> tuple[Existing, int] | None:
    head = state.heads.get(task_id)
    if head is not None:
        return Existing(position, task_id, head.created_ms), head.state
    record = state.find_ended(task_id)
    if record is not None:
        return Existing(position, task_id, record.created_ms), record.state
    return None


def _add(state: State, spec: TaskSpec) -> int:
    kind = state.kinds.get((spec.queue, spec.task_type)) or state.kind_of(spec.queue, spec.task_type)
    terms = state.terms_of(kind, spec.priority, spec.timeout_ms, spec.max_retries, spec.retry)
    seq = state.next_sequence()
    now_ms = state.clock_ms
    due_ms = spec.schedule_at_ms or (now_ms + spec.delay_ms if spec.delay_ms else 0)
    extras = None
    if due_ms or spec.dependencies or spec.expires_at_ms or spec.unique_key or spec.metadata:
        extras = Extras(
            spec.dependencies, spec.expires_at_ms, spec.unique_key, due_ms, has_metadata=bool(spec.metadata)
        )
    head = Head(spec.task_id, seq, terms, PENDING, now_ms, extras)
    if extras is None:
        state.place(head)
    else:
        _place_with_extras(state, head, extras, spec)
    state.payloads[seq] = spec.payload
    state.writes.append((Table.PAYLOAD, seq, spec.payload))
    if spec.metadata:
        state.writes.append((Table.EXTRA, seq, spec.metadata))
    return head.state


def _place_with_extras(state: State, head: Head, extras: Extras, spec: TaskSpec) -> None:
    if extras.unique_key:
        until_ms = state.clock_ms + spec.unique_ttl_ms if spec.unique_ttl_ms else 0
        state.unique[extras.unique_key] = UniqueHold(head.task_id, until_ms)
        state.write(Table.UNIQUE, extras.unique_key, (head.task_id, until_ms))
    failed = depend(state, head, extras)
    if extras.missing:
        head.state = BLOCKED
    elif extras.schedule_at_ms > state.clock_ms:
        head.state = SCHEDULED
        head.due_ms = extras.schedule_at_ms
    state.place(head)
    if head.state == SCHEDULED:
        state.waits.add(head.due_ms, head.seq, DUE, head)
    if failed:
        end_task(state, head, DEAD_LETTER, reason=failed)
    elif extras.expires_at_ms:
        if extras.expires_at_ms <= state.clock_ms:
            end_task(state, head, EXPIRED, reason=expired_reason())
        else:
            state.waits.add(extras.expires_at_ms, head.seq, EXPIRY, head)


def depend(state: State, head: Head, extras: Extras) -> str:
    """Hang the task on its dependencies that still live; the reason why it never can run, or empty."""
    extras.missing = 0
    for dependency in dict.fromkeys(extras.dependencies):
        if dependency in state.heads:
            extras.missing += 1
            state.dependents.setdefault(dependency, []).append(head)
            continue
        record = state.find_ended(dependency)
        # A dependency that was purged since had ended, and what it ended as was acted on then.
        if record is not None and record.state != COMPLETED:
            return unmet(dependency, record.state)
    return ""


def expired_reason() -> str:
    return "it had not started when it expired"
