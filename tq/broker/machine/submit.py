"""Submitting: one or many, all or none, the same id or unique key twice is the task that exists."""

from __future__ import annotations

from tq.broker.machine.commands import SubmitTasks
from tq.broker.machine.ending import end_task, expired_reason, unmet
from tq.broker.machine.heads import Extras, Head
from tq.broker.machine.state import KINDS_MAX, State, UniqueHold
from tq.broker.machine.timers import DUE, EXPIRY
from tq.broker.tables import Table
from tq.errors import BadRequest
from tq.ids import to_text
from tq.task import BLOCKED, COMPLETED, DEAD_LETTER, EXPIRED, PENDING, SCHEDULED, EndedTask, TaskSpec
from tq.verbs import Existing, Submitted

_PAYLOAD = Table.PAYLOAD
"""Looked up once: a member of an Enum costs four times a global."""


def submit_tasks(state: State, command: SubmitTasks) -> Submitted | BadRequest:
    tasks = command.tasks
    refusal = _refuse_dependencies(state, tasks) or refuse_kinds(state, tasks)
    if refusal is not None:
        return refusal
    states = bytearray()
    existing: list[Existing] = []
    aliases: dict[bytes, bytes] = {}
    heads, ended_now = state.heads, state.ended_records
    known = state.archive.known([spec.task_id for spec in tasks if spec.task_id not in heads])
    for position, spec in enumerate(tasks):
        task_id = spec.task_id
        found = None
        if task_id in heads or task_id in known or task_id in ended_now or spec.unique_key:
            found = _existing(state, spec, position)
        if found is not None:
            existing.append(found[0])
            states.append(found[1])
            # Its unique key stands for another task: what depends on it in this batch depends on that one.
            if found[0].task_id != spec.task_id:
                aliases[spec.task_id] = found[0].task_id
            continue
        if aliases:
            spec = spec._replace(dependencies=tuple(aliases.get(one, one) for one in spec.dependencies))
            aliases.pop(spec.task_id, None)
        states.append(_add(state, spec))
    return Submitted(state.clock_ms, bytes(states), tuple(existing))


def _refuse_dependencies(state: State, tasks: tuple[TaskSpec, ...]) -> BadRequest | None:
    """Why none of the batch can be taken: a dependency that does not exist and comes no earlier in it."""
    if not any(spec.dependencies for spec in tasks):
        return None
    earlier: dict[bytes, None] = {}
    for position, spec in enumerate(tasks):
        # Sent again, it is the task that exists, even if what it depended on has been purged since.
        if spec.dependencies and not exists(state, spec.task_id):
            for dependency in spec.dependencies:
                if dependency not in earlier and not exists(state, dependency):
                    return BadRequest(
                        f"tasks[{position}].dependencies: no task {to_text(dependency)}; a dependency must exist or"
                        " stand earlier in the same batch"
                    )
        earlier[spec.task_id] = None
    return None


def refuse_kinds(state: State, tasks: tuple[TaskSpec, ...] | tuple[EndedTask, ...]) -> BadRequest | None:
    """Why these cannot be taken: they would bring more pairs of queue and task type than there may be."""
    if len(state.kinds) + len(tasks) <= KINDS_MAX:
        return None
    fresh = {
        (spec.queue, spec.task_type): None
        for spec in tasks
        if (spec.queue, spec.task_type) not in state.kinds
    }
    if len(state.kinds) + len(fresh) <= KINDS_MAX:
        return None
    return BadRequest(
        f"tasks[].queue, tasks[].task_type: {len(state.kinds)} pairs of queue and task type are in use, and"
        f" {KINDS_MAX} are the limit; put what varies into the payload"
    )


def exists(state: State, task_id: bytes) -> bool:
    """Whether a task has this id, a live one or one that has ended."""
    return task_id in state.heads or state.find_ended(task_id) is not None


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
    # Taken apart at once: a look at a field by its name costs as much as all of this.
    (
        task_id, task_type, payload, queue, priority, schedule_at_ms, delay_ms, timeout_ms, max_retries, retry,
        dependencies, expires_at_ms, unique_key, _, metadata,
    ) = spec  # fmt: skip
    kind = state.kinds.get((queue, task_type)) or state.new_kind(queue, task_type)
    terms = state.terms_of(kind, priority, timeout_ms, max_retries, retry)
    seq = state.next_sequence()
    now_ms = state.clock_ms
    due_ms = schedule_at_ms or (now_ms + delay_ms if delay_ms else 0)
    extras = None
    if due_ms or dependencies or expires_at_ms or unique_key or metadata:
        extras = Extras(dependencies, expires_at_ms, unique_key, due_ms, has_metadata=bool(metadata))
    head = Head(task_id, seq, terms, PENDING, now_ms, extras)
    if extras is None:
        state.place(head)
    else:
        _place_with_extras(state, head, extras, spec)
    state.payloads[seq] = payload
    state.writes.append((_PAYLOAD, seq, payload))
    if metadata:
        state.metadata[seq] = metadata
        state.writes.append((Table.EXTRA, seq, metadata))
    return head.state


def _place_with_extras(state: State, head: Head, extras: Extras, spec: TaskSpec) -> None:
    if extras.unique_key:
        until_ms = state.clock_ms + spec.unique_ttl_ms if spec.unique_ttl_ms else 0
        state.unique[extras.unique_key] = UniqueHold(head.task_id, until_ms)
        state.write(Table.UNIQUE, extras.unique_key, (head.task_id, until_ms))
    never = why_never(state, head, extras)
    hang(state, head, extras)
    if extras.missing or never:
        head.state = BLOCKED
    elif extras.schedule_at_ms > state.clock_ms:
        head.state = SCHEDULED
        head.due_ms = extras.schedule_at_ms
    state.place(head)
    if head.state == SCHEDULED:
        state.waits.add(head.due_ms, head.seq, DUE, head)
    if never:
        end_task(state, head, DEAD_LETTER, reason=never)
    elif extras.expires_at_ms:
        if extras.expires_at_ms <= state.clock_ms:
            end_task(state, head, EXPIRED, reason=expired_reason())
        else:
            state.waits.add(extras.expires_at_ms, head.seq, EXPIRY, head)


def why_never(state: State, head: Head, extras: Extras) -> str:
    """Why the task never can run: what it depends on has ended otherwise than completed. Empty when nothing has."""
    for dependency in extras.dependencies:
        if dependency in state.heads:
            continue
        record = state.find_ended(dependency)
        # A dependency that was purged since had ended, and what it ended as was acted on then. If its id was given
        # to a new task, that one came later and is none of this task's business.
        if record is not None and record.state != COMPLETED and record.seq < head.seq:
            return unmet(dependency, record.state)
    return ""


def hang(state: State, head: Head, extras: Extras) -> None:
    """Hang the task on those of its dependencies that still live."""
    extras.missing = 0
    for dependency in dict.fromkeys(extras.dependencies):
        found = state.heads.get(dependency)
        if found is not None and found.seq < head.seq:
            extras.missing += 1
            state.dependents.setdefault(dependency, {})[head.task_id] = head
