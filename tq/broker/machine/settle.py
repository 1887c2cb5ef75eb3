"""How an attempt ends, and what becomes of its task."""

from __future__ import annotations

from tq.broker.machine.commands import ExtendLeases, SettleTasks
from tq.broker.machine.ending import end_attempt, end_task
from tq.broker.machine.heads import Head, Hold
from tq.broker.machine.state import State
from tq.broker.tables import Table
from tq.retry import delay_ms
from tq.task import (
    CANCELLED,
    COMPLETED,
    CRASH_LIMIT,
    DEAD_LETTER,
    PENDING,
    RETRYING,
    SCHEDULED,
    Cause,
    Counters,
)
from tq.verbs import SETTLED_LEASE_LOST, SETTLED_OK, Settled, SettleItem

DONE, ERROR, TIMEOUT, CRASH, LEASE_LOST, RELEASED, CANCEL, SNOOZED, FATAL = (int(cause) for cause in Cause)


def settle_tasks(state: State, command: SettleTasks) -> Settled:
    """End attempts. An item whose token is not the one the session holds changes nothing and says so."""
    session = state.sessions.get(command.session_id)
    if session is None:
        return Settled(bytes([SETTLED_LEASE_LOST]) * len(command.items))
    codes = bytearray()
    held, heads = session.held, state.heads
    for item in command.items:
        if held.get(item[0]) == item[1]:
            _settle(state, heads[item[0]], item)
            codes.append(SETTLED_OK)
            continue
        codes.append(SETTLED_LEASE_LOST)
        if (item[0], item[1]) in session.zombies:
            # The task was taken from it before; now its slot is free, too.
            del session.zombies[item[0], item[1]]
            state.changed_sessions[session.session_id] = session
    session.mark()
    return Settled(bytes(codes))


def _settle(state: State, head: Head, item: SettleItem) -> None:
    hold = state.release(head)
    if item.cause == DONE:
        if item.result:
            state.writes.append((Table.RESULT, head.seq, item.result))
        end_task(state, head, COMPLETED, hold=hold)
    else:
        conclude(state, head, hold, cause=item.cause, error=item.error, delay=item.delay_ms)


def conclude(state: State, head: Head, hold: Hold, *, cause: int, error: str, delay: int = -1) -> None:
    """Decide what becomes of a task whose attempt ended without a result; its lease is off already.

    Only errors and timeouts spend max_retries. What takes workers down has a limit of its own, so that it is
    neither lost after one crash nor handed from worker to worker for ever. Handing back costs nothing.
    """
    end_attempt(state, head, hold, cause=cause, error=error)
    head.counters = count(head.counters, cause)
    if cause in (ERROR, TIMEOUT):
        _retry_or_bury(state, head, hold, error, delay)
    elif cause in (CRASH, LEASE_LOST):
        if head.counters.crashes + head.counters.leases_lost >= CRASH_LIMIT:
            reason = f"it crashed or lost its worker {CRASH_LIMIT} times; the last time: {headline(error)}"
            end_task(state, head, DEAD_LETTER, reason=reason, hold=hold)
        else:
            _hand_back(state, head)
    elif cause == CANCEL:
        end_task(
            state,
            head,
            CANCELLED,
            reason=headline(error) if error.strip() else "cancelled by its handler",
            hold=hold,
        )
    elif cause in (RELEASED, SNOOZED):
        if cause == SNOOZED and delay < 0:
            # At once would be a loop between broker and worker as fast as both can turn.
            delay = delay_ms(head.terms.retry_policy, head.counters.snoozes, head.task_id)
        if delay > 0:
            state.wait_until(head, SCHEDULED, state.clock_ms + delay)
        else:
            _hand_back(state, head)
    else:
        end_task(state, head, DEAD_LETTER, reason=f"fatal: {headline(error)}", hold=hold)


def _retry_or_bury(state: State, head: Head, hold: Hold, error: str, delay: int) -> None:
    failures = head.counters.errors + head.counters.timeouts
    if failures > head.terms.max_retries:
        reason = f"failed {failures} of {failures} times; the last time: {headline(error)}"
        end_task(state, head, DEAD_LETTER, reason=reason, hold=hold)
        return
    if delay < 0:
        delay = delay_ms(head.terms.retry_policy, failures, head.task_id)
    state.wait_until(head, RETRYING, state.clock_ms + delay)


def _hand_back(state: State, head: Head) -> None:
    state.move(head, PENDING)
    head.terms.kind.put_back(head, head.terms.priority)


def count(counters: Counters, cause: int) -> Counters:
    """The counters after one more of this cause."""
    field = _FIELD_OF_CAUSE.get(cause)
    if field is None:
        return counters
    changed = list(counters)
    changed[field] += 1
    return Counters(*changed)


_FIELD_OF_CAUSE = {ERROR: 0, FATAL: 0, TIMEOUT: 1, CRASH: 2, LEASE_LOST: 3, RELEASED: 4, SNOOZED: 5}


def headline(text: str) -> str:
    """The line of an error that says what it was, shortened: the first one, of a bare traceback the last."""
    lines = text.strip().splitlines()
    if not lines:
        return "no text"
    return lines[-1 if lines[0].startswith("Traceback") else 0][:200]


def extend_leases(state: State, command: ExtendLeases) -> Settled:
    codes = bytearray()
    for task_id, token, ms in command.items:
        head = state.heads.get(task_id)
        hold = head.hold if head is not None else None
        if head is None or hold is None or hold.token != token or hold.session_id != command.session_id:
            codes.append(SETTLED_LEASE_LOST)
            continue
        state.deadlines.remove(head, hold.deadline_ms)
        head.hold = hold._replace(deadline_ms=state.clock_ms + ms)
        state.deadlines.add(head, head.hold.deadline_ms)
        state.touched[head.seq] = head
        codes.append(SETTLED_OK)
    return Settled(bytes(codes))
