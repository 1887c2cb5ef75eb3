"""Who may do what: a token becomes a principal, a principal may send some verbs and no others.

`PERMISSION_OF` is the one place where a verb meets its permission. A verb that is missing from it is denied to
everybody, so a new verb without a decision fails closed (and fails a test).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from tq.errors import AuthenticationFailed, PermissionDenied
from tq.verbs import (
    Backup,
    Cancel,
    Claim,
    Deregister,
    Extend,
    GetCluster,
    GetHealth,
    GetStats,
    GetTask,
    Heartbeat,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Register,
    Request,
    ResumeQueue,
    Retry,
    SetCapacity,
    Settle,
    Submit,
    Watch,
)


class Permission(StrEnum):
    """The words a key's `permissions` are written in."""

    SUBMIT_TASKS = "submit_tasks"
    READ_TASKS = "read_tasks"
    CANCEL_TASKS = "cancel_tasks"
    WORK_TASKS = "work_tasks"
    ADMIN = "admin"
    """Includes all the others."""


PERMISSION_OF: dict[type[Request], Permission | None] = {
    Submit: Permission.SUBMIT_TASKS,
    Retry: Permission.SUBMIT_TASKS,
    GetTask: Permission.READ_TASKS,
    Watch: Permission.READ_TASKS,
    ListTasks: Permission.READ_TASKS,
    GetStats: Permission.READ_TASKS,
    ListWorkers: Permission.READ_TASKS,
    GetCluster: Permission.READ_TASKS,
    Cancel: Permission.CANCEL_TASKS,
    Register: Permission.WORK_TASKS,
    Heartbeat: Permission.WORK_TASKS,
    SetCapacity: Permission.WORK_TASKS,
    Claim: Permission.WORK_TASKS,
    Settle: Permission.WORK_TASKS,
    Extend: Permission.WORK_TASKS,
    Deregister: Permission.WORK_TASKS,
    Purge: Permission.ADMIN,
    PauseQueue: Permission.ADMIN,
    ResumeQueue: Permission.ADMIN,
    Backup: Permission.ADMIN,
    Ping: None,
    GetHealth: None,
}
"""request class -> what it takes; total over Request (a test checks it). None: any principal may."""


class Principal(NamedTuple):
    """Somebody the broker knows. verbs: the request classes it may send, worked out once, looked up per request."""

    name: str
    permissions: frozenset[Permission]
    verbs: frozenset[type[Request]]


def principal(name: str, permissions: Iterable[Permission]) -> Principal:
    """A principal with these permissions and the verbs that follow from them."""
    held = frozenset(permissions)
    verbs = (
        verb
        for verb, needed in PERMISSION_OF.items()
        if needed is None or needed in held or Permission.ADMIN in held
    )
    return Principal(name, held, frozenset(verbs))


def denial(who: Principal, verb: type[Request]) -> PermissionDenied:
    """The error for a verb that is not among `who.verbs`, naming the permission that is missing."""
    needed = PERMISSION_OF.get(verb)
    remedy = f"it takes the permission {needed}" if needed else "no permission covers it"
    return PermissionDenied(f"{who.name} may not {verb.__name__}: {remedy}")


Verdict: TypeAlias = Callable[[Principal | AuthenticationFailed], None]


class Access(Protocol):
    """Turns the token of a hello (or of a call) into a principal."""

    def authenticate(self, token: str, verdict: Verdict) -> None:
        """Call verdict once, at once or later: checking a bcrypt hash takes a thread and a tenth of a second."""
        ...


class OpenAccess:
    """`auth.enabled: false`: everybody is the same anonymous principal and may do everything."""

    def __init__(self) -> None:
        self._anonymous = principal("anonymous", (Permission.ADMIN,))

    def authenticate(self, token: str, verdict: Verdict) -> None:
        verdict(self._anonymous)
