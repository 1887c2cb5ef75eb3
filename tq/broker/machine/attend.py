"""Workers coming and going: opening and closing sessions, capacity, claims."""

from __future__ import annotations

from tq.broker.machine.commands import (
    ChangeCapacity,
    ClaimTasks,
    CloseSession,
    DrainSessions,
    OpenSession,
)
from tq.broker.machine.effects import Dismiss
from tq.broker.machine.heads import Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.sessions import Group, Session
from tq.broker.machine.settle import conclude
from tq.broker.machine.state import State
from tq.broker.tables import Table
from tq.errors import LeaseLost, WorkerNotFound
from tq.ids import to_text
from tq.task import Cause
from tq.verbs import Done, Drained, Registered


def open_session(state: State, command: OpenSession) -> Registered:
    """Begin a session or take it up again after a reconnect.

    What the session holds and the worker does not list never arrived: it is delivered again, same token. What
    the worker lists and the session does not hold is lost to it: it is told to stop.
    """
    session = _session_of(state, command)
    held, listed = session.held, frozenset(command.holds)
    lost = tuple((task_id, token) for task_id, token in command.holds if held.get(task_id) != token)
    missed = [task_id for task_id, token in held.items() if (task_id, token) not in listed]
    if missed:
        state.missed[session.session_id] = missed
    session.zombies = {}
    session.credit = 0
    session.mark()
    state.changed_sessions[session.session_id] = session
    if session.is_draining:
        state.effects.append(Dismiss(session.session_id))
    return Registered(lost, 0)


def _session_of(state: State, command: OpenSession) -> Session:
    queues, task_types = tuple(dict.fromkeys(command.queues)), tuple(dict.fromkeys(command.task_types))
    group = group_of(state, queues, task_types)
    session = state.sessions.get(command.session_id)
    if session is None:
        session = state.sessions[command.session_id] = Session(command.session_id, group)
        group.join(session, group.free_place())
    elif session.group is not group:
        _leave(state, session)
        group.join(session, group.free_place())
    session.resize(command.capacity)
    session.worker_id = command.worker_id
    session.queues, session.task_types = queues, task_types
    session.host, session.pid, session.version = command.host, command.pid, command.version
    return session


def group_of(state: State, queues: tuple[str, ...], task_types: tuple[str, ...]) -> Group:
    """The group of all that serve exactly this, made now if this is its first session."""
    key = (frozenset(queues), frozenset(task_types))
    group = state.groups.get(key)
    if group is None:
        group = state.groups[key] = Group(queues, task_types, state.woken)
        for kind in _kinds_of(state, group):
            kind.groups.append(group)
            if kind.mask and not kind.paused:
                group.show(kind, kind.rank())
    return group


def _kinds_of(state: State, group: Group) -> list[Kind]:
    """The kinds a group serves, looked for on the shorter side: its own pairs or all kinds there are."""
    queues, task_types = group.key
    if len(queues) * len(task_types) > len(state.kinds):
        return [kind for kind in state.kinds.values() if group.serves(kind)]
    pairs = [(queue, task_type) for queue in queues for task_type in task_types]
    return [state.kinds[pair] for pair in pairs if pair in state.kinds]


def _leave(state: State, session: Session) -> None:
    group = session.group
    group.leave(session)
    if not group.members:
        del state.groups[group.queues, group.task_types]
        for kind in _kinds_of(state, group):
            kind.groups.remove(group)


def close_session(state: State, command: CloseSession) -> Done:
    """End a session; what it holds goes back to where it stood."""
    session = state.sessions.get(command.session_id)
    if session is None:
        return Done()
    text = _RELEASED if command.cause == Cause.RELEASED else f"worker {session.worker_id} fell silent"
    for head in sorted((state.heads[task_id] for task_id in session.held), key=_order):
        conclude(state, head, state.release(head), cause=command.cause, error=text)
    del state.sessions[command.session_id]
    _leave(state, session)
    state.changed_sessions.pop(command.session_id, None)
    state.write(Table.SESSION, session.session_id, None)
    return Done()


_RELEASED = "handed back by a worker that is stopping"


def _order(head: Head) -> int:
    return head.order


def change_capacity(state: State, command: ChangeCapacity) -> Done | LeaseLost:
    session = state.sessions.get(command.session_id)
    if session is None:
        return LeaseLost(NO_SESSION)
    session.resize(command.capacity)
    session.mark()
    state.changed_sessions[session.session_id] = session
    return Done()


def drain_sessions(state: State, command: DrainSessions) -> Drained | WorkerNotFound:
    """From here on these sessions only give back. Each is told now, and again whenever it registers."""
    found = [
        session
        for session_id, session in state.sessions.items()
        if session.worker_id == command.worker or to_text(session_id) == command.worker
    ]
    if not found:
        return WorkerNotFound(f"no worker {command.worker!r} is registered, and no session has this id")
    for session in found:
        session.drain()
        session.mark()
        state.changed_sessions[session.session_id] = session
        state.effects.append(Dismiss(session.session_id))
    return Drained(tuple(session.session_id for session in found))


def claim_tasks(state: State, command: ClaimTasks) -> Done | LeaseLost:
    session = state.sessions.get(command.session_id)
    if session is None:
        return LeaseLost(NO_SESSION)
    session.credit = command.credit
    session.mark()
    state.changed_sessions[session.session_id] = session
    return Done()


NO_SESSION = "this session is not open any more; register again"
