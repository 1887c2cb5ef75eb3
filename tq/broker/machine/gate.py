"""May it run now, and if not, why: one sentence for every live task."""

from __future__ import annotations

from tq.broker.machine.heads import Head
from tq.broker.machine.state import State
from tq.ids import to_text
from tq.task import BLOCKED, PENDING, RETRYING, SCHEDULED

SHOWN_MAX = 3
"""Dependencies named in a reason; the rest are counted."""


def why_waiting(state: State, head: Head) -> str:
    """For all pending tasks of one kind it is the same."""
    if head.state == PENDING:
        return _why_pending(state, head)
    if head.state == SCHEDULED:
        return f"scheduled: due in {_seconds(head.due_ms - state.clock_ms)}"
    if head.state == RETRYING:
        failures = head.counters.errors + head.counters.timeouts
        return (
            f"failed {failures} of {head.terms.max_retries + 1} times; next attempt in"
            f" {_seconds(head.due_ms - state.clock_ms)}"
        )
    if head.state == BLOCKED:
        return _why_blocked(state, head)
    hold = head.hold
    assert hold is not None, f"task {head.task_id.hex()} is running without a lease"
    return f"running on worker {hold.worker_id}, attempt {head.attempts}"


def _why_pending(state: State, head: Head) -> str:
    kind = head.terms.kind
    pause = state.pauses.get(kind.queue)
    if pause is not None:
        return f"queue {kind.queue!r} is paused" + (f": {pause.reason}" if pause.reason else "")
    workers = sum(len(group.members) for group in kind.groups)
    if not workers:
        return f"no connected worker serves type {kind.task_type!r} on queue {kind.queue!r}"
    slots = sum(group.slots for group in kind.groups)
    if not slots:
        return f"every worker that serves type {kind.task_type!r} is draining"
    return (
        f"waiting for a free slot; in use: {_counted(slots, 'slot')} of {_counted(workers, 'worker')} that can run it;"
        f" pending: {_counted(kind.counts[PENDING], 'task')} of this type"
    )


def _why_blocked(state: State, head: Head) -> str:
    assert head.extras is not None, "a blocked task has extras"
    dependencies = dict.fromkeys(head.extras.dependencies)
    missing = [one for one in dependencies if head.task_id in state.dependents.get(one, ())]
    shown = ", ".join(to_text(dependency) for dependency in missing[:SHOWN_MAX])
    rest = f" and {len(missing) - SHOWN_MAX} more" if len(missing) > SHOWN_MAX else ""
    return f"waiting for {shown}{rest} to complete"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _seconds(ms: int) -> str:
    return f"{max(ms, 0) / 1000:.1f} s"
