"""Long lists of tasks cut into Submit and Import requests that fit the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from tq import ids
from tq.client.task import Task
from tq.errors import BadRequest, Outcome, TqError
from tq.protocol.limits import BATCH_ITEMS_MAX, CHANGE_TASKS_MAX, FRAME_BYTES_MAX
from tq.task import EndedTask, TaskSpec
from tq.verbs import Import, Submit, Submitted

SUBMIT_BYTES_MAX = FRAME_BYTES_MAX // 2
"""What goes into one Submit unless a single task is larger: a broker with a lower limit than ours is rare, and a
frame half as long as allowed still carries 8,000 tasks of a kilobyte."""
RandomBytes: TypeAlias = Callable[[int], bytes]
Each = TypeVar("Each")

_FIELDS_BYTES_MAX = 256
"""All fields of fixed size of one task, packed at their longest."""
_DEPENDENCY_BYTES = 18


def specs_of(tasks: Iterable[Task | TaskSpec], now_ms: int, random_bytes: RandomBytes) -> list[TaskSpec]:
    """The form of the wire of each, with ids. Raises BadRequest naming the position of what is no task.

    now_ms: wall time, for the ids. random_bytes: such as os.urandom; asked once for the whole list.
    """
    listed = list(tasks)
    fresh = iter(_fresh_ids(len(listed), now_ms, random_bytes))
    specs = []
    for position, task in enumerate(listed):
        if type(task) is Task:
            specs.append(task.spec_with(next(fresh)))
        elif isinstance(task, TaskSpec) and len(task.task_id) == ids.ID_BYTES:
            specs.append(task)
        else:
            raise BadRequest(f"tasks[{position}] is a {type(task).__name__}; a list of Task is wanted")
    return specs


def _fresh_ids(count: int, now_ms: int, random_bytes: RandomBytes) -> list[bytes]:
    """UUIDv7s as `tq.ids.new_id` makes, without a system call for each."""
    random = bytearray(random_bytes(_RANDOM_BYTES * count))
    random[0::_RANDOM_BYTES] = random[0::_RANDOM_BYTES].translate(_AS_VERSION)
    random[2::_RANDOM_BYTES] = random[2::_RANDOM_BYTES].translate(_AS_VARIANT)
    rest, moment = bytes(random), now_ms.to_bytes(ids.ID_BYTES - _RANDOM_BYTES, "big")
    return [moment + rest[at : at + _RANDOM_BYTES] for at in range(0, len(rest), _RANDOM_BYTES)]


_RANDOM_BYTES = 10
"""The id's bytes after its 48 bits of time."""
_AS_VERSION = bytes(0x70 | (byte & 0x0F) for byte in range(256))
_AS_VARIANT = bytes(0x80 | (byte & 0x3F) for byte in range(256))


def submits(specs: list[TaskSpec]) -> Iterator[Submit]:
    """Requests of at most BATCH_ITEMS_MAX tasks and SUBMIT_BYTES_MAX bytes, in the order given."""
    return (Submit(part) for part in _parts(specs, packed_bytes_max, BATCH_ITEMS_MAX))


def imports(tasks: Sequence[EndedTask]) -> Iterator[Import]:
    """Requests of at most CHANGE_TASKS_MAX tasks and SUBMIT_BYTES_MAX bytes, in the order given."""
    return (Import(part) for part in _parts(tasks, _ended_bytes_max, CHANGE_TASKS_MAX))


def _parts(
    tasks: Sequence[Each], bytes_max_of: Callable[[Each], int], tasks_max: int
) -> Iterator[tuple[Each, ...]]:
    """A task that is larger than a part may be is a part by itself."""
    start, size = 0, 0
    for at, task in enumerate(tasks):
        task_bytes = bytes_max_of(task)
        if at > start and (at - start == tasks_max or size + task_bytes > SUBMIT_BYTES_MAX):
            yield tuple(tasks[start:at])
            start, size = at, 0
        size += task_bytes
    if start < len(tasks):
        yield tuple(tasks[start:])


def packed_bytes_max(spec: TaskSpec) -> int:
    """No spec is longer than this on the wire. A character takes up to 4 bytes."""
    size = _FIELDS_BYTES_MAX + len(spec.payload) + 4 * (len(spec.task_type) + len(spec.queue))
    if spec.unique_key or spec.dependencies or spec.metadata or spec.retry:
        size += 4 * len(spec.unique_key) + _DEPENDENCY_BYTES * len(spec.dependencies)
        size += _extras_bytes_max(spec)
    return size


def _ended_bytes_max(task: EndedTask) -> int:
    texts = len(task.error) + len(task.task_type) + len(task.queue) + len(task.worker_id)
    size = _FIELDS_BYTES_MAX + len(task.payload) + len(task.result) + 4 * texts
    return size + _extras_bytes_max(task)


def _extras_bytes_max(task: TaskSpec | EndedTask) -> int:
    """Metadata and retry policy."""
    size = sum(10 + 4 * (len(name) + len(value)) for name, value in task.metadata.items())
    return size + (10 * (8 + len(task.retry.delays_ms)) if task.retry else 0)


def texts_of(submit: Submit, submitted: Submitted) -> list[str]:
    """The ids the tasks have now, in order: a unique key that was taken gives the id of the task that holds it."""
    texts = [ids.to_text(spec.task_id) for spec in submit.tasks]
    for existing in submitted.existing:
        texts[existing.position] = ids.to_text(existing.task_id)
    return texts


def cut_short(error: TqError, submit: Submit, accepted_count: int, total: int) -> TqError:
    """The same error, saying what became of the whole list, or of which id."""
    if total == 1:
        what = f"task {ids.to_text(submit.tasks[0].task_id)}"
        became = "may have been accepted" if error.outcome is Outcome.UNKNOWN else "was not accepted"
    else:
        last = accepted_count + len(submit.tasks) - 1
        what = f"tasks [{accepted_count}] to [{last}]"
        if error.outcome is Outcome.UNKNOWN:
            became = "may have been accepted, all or none of them"
        else:
            became = "were not accepted"
        became += f"; the {accepted_count} before them were" if accepted_count else ""
        became += f"; the {total - last - 1} after them were not sent" if last + 1 < total else ""
    text = f"{what} {became}: {error.text}"
    return type(error)(text, retry_after_ms=error.retry_after_ms, leader=error.leader)
