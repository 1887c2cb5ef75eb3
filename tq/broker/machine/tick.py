"""What time brings about: schedules, retries, expiries, deadlines, unique keys."""

from __future__ import annotations

from tq.broker.machine.commands import TICK_TASKS_MAX, Tick
from tq.broker.machine.ending import end_task, expired_reason
from tq.broker.machine.heads import Head
from tq.broker.machine.settle import conclude
from tq.broker.machine.state import State
from tq.broker.machine.timers import DUE
from tq.broker.tables import Table
from tq.task import EXPIRED, Cause
from tq.verbs import Done


def tick(state: State, command: Tick) -> Done:
    """Do what is due, at most TICK_TASKS_MAX of it; what is left is due still, and the next tick finds it."""
    overrun = state.deadlines.due(state.clock_ms, TICK_TASKS_MAX)
    for head in overrun:
        _overrun(state, head)
    left = TICK_TASKS_MAX - len(overrun)
    while left and (wait := state.waits.pop_due(state.clock_ms)) is not None:
        subject = wait[3]
        if isinstance(subject, str):
            # A restored broker has no entry for a key that is no longer to be freed, so one must not count.
            left -= _free_unique(state, subject)
            continue
        left -= 1
        if wait[2] == DUE:
            state.make_ready(subject)
        else:
            end_task(state, subject, EXPIRED, reason=expired_reason())
    return Done()


def _free_unique(state: State, key: str) -> bool:
    held = state.unique.get(key)
    if held is None or held.task_id in state.heads or held.until_ms > state.clock_ms:
        return False
    del state.unique[key]
    state.write(Table.UNIQUE, key, None)
    return True


def _overrun(state: State, head: Head) -> None:
    """End an attempt past its deadline. The worker should have; it keeps the slot until it says what became of it."""
    hold = state.revoke(head, "timeout")
    text = f"still running {head.terms.timeout_ms / 1000:g} s after it started, and worker {hold.worker_id} did not end it"
    conclude(state, head, hold, cause=Cause.TIMEOUT, error=text)
