"""Workers coming and going: opening and closing sessions, capacity, claims."""

from __future__ import annotations

from tq.broker.machine.commands import ChangeCapacity, ClaimTasks, CloseSession, OpenSession
from tq.broker.machine.effects import Lease
from tq.broker.machine.heads import Head
from tq.broker.machine.sessions import Group, Session
from tq.broker.machine.settle import conclude
from tq.broker.machine.state import State
from tq.broker.tables import Table
from tq.errors import LeaseLost
from tq.task import Cause
from tq.verbs import Done, Registered


def open_session(state: State, command: OpenSession) -> Registered:
    """Begin a session or take it up again after a reconnect.

    What the session holds and the worker does not list never arrived: it is delivered again, same token. What
    the worker lists and the session does not hold is lost to it: it is told to stop.
    """
    session = _session_of(state, command)
    lost = tuple(
        (task_id, token) for task_id, token in command.holds if not _holds(state, session, task_id, token)
    )
    listed = dict(command.holds)
    held: dict[bytes, int] = {}
    missed: list[Head] = []
    for task_id, token in session.held.items():
        if _holds(state, session, task_id, token):
            held[task_id] = token
            if listed.get(task_id) != token:
                missed.append(state.heads[task_id])
    session.held = held
    session.credit = 0
    session.mark()
    state.write(Table.SESSION, session.session_id, session.record())
    if missed:
        state.effects.append(Lease(session.session_id, tuple(missed)))
    return Registered(lost, 0)


def _holds(state: State, session: Session, task_id: bytes, token: int) -> bool:
    head = state.heads.get(task_id)
    hold = head.hold if head is not None else None
    return hold is not None and hold.token == token and hold.session_id == session.session_id


def _session_of(state: State, command: OpenSession) -> Session:
    queues, task_types = tuple(dict.fromkeys(command.queues)), tuple(dict.fromkeys(command.task_types))
    group = group_of(state, queues, task_types)
    session = state.sessions.get(command.session_id)
    if session is None:
        session = state.sessions[command.session_id] = Session(command.session_id, group)
    elif session.group is not group:
        _leave(state, session)
        session.group = group
    group.sessions[command.session_id] = session
    session.worker_id = command.worker_id
    session.queues, session.task_types = queues, task_types
    session.capacity = command.capacity
    session.host, session.pid, session.version = command.host, command.pid, command.version
    return session


def group_of(state: State, queues: tuple[str, ...], task_types: tuple[str, ...]) -> Group:
    """The group of all that serve exactly this, made now if this is its first session."""
    key = (frozenset(queues), frozenset(task_types))
    group = state.groups.get(key)
    if group is None:
        group = state.groups[key] = Group(*key)
        for kind in state.kinds.values():
            if group.serves(kind):
                kind.groups.append(group)
                if kind.mask and not kind.paused:
                    group.ready[kind.number] = kind
    return group


def _leave(state: State, session: Session) -> None:
    group = session.group
    del group.sessions[session.session_id]
    group.free.pop(session.session_id, None)
    if not group.sessions:
        del state.groups[group.queues, group.task_types]
        for kind in state.kinds.values():
            if group in kind.groups:
                kind.groups.remove(group)


def close_session(state: State, command: CloseSession) -> Done:
    """End a session; what it holds goes back, latest first so that each finds its old place at the front."""
    session = state.sessions.pop(command.session_id, None)
    if session is None:
        return Done()
    _leave(state, session)
    state.write(Table.SESSION, session.session_id, None)
    held = [
        state.heads[task_id]
        for task_id, token in session.held.items()
        if _holds(state, session, task_id, token)
    ]
    text = _RELEASED if command.cause == Cause.RELEASED else f"worker {session.worker_id} fell silent"
    for head in sorted(held, key=_order, reverse=True):
        conclude(state, head, state.release(head), cause=command.cause, error=text)
    return Done()


_RELEASED = "handed back by a worker that is stopping"


def _order(head: Head) -> int:
    return head.order


def change_capacity(state: State, command: ChangeCapacity) -> Done | LeaseLost:
    session = state.sessions.get(command.session_id)
    if session is None:
        return LeaseLost(NO_SESSION)
    session.capacity = command.capacity
    session.mark()
    state.write(Table.SESSION, session.session_id, session.record())
    return Done()


def claim_tasks(state: State, command: ClaimTasks) -> Done | LeaseLost:
    session = state.sessions.get(command.session_id)
    if session is None:
        return LeaseLost(NO_SESSION)
    session.credit = command.credit
    session.mark()
    return Done()


NO_SESSION = "this session is not open any more; register again"
