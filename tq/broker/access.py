"""Who may do what: a token becomes a principal, a principal may send some verbs and no others.

`PERMISSION_OF` is the one place where a verb meets its permission. A verb that is missing from it is denied to
everybody, so a new verb without a decision fails closed (and fails a test).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from tq.errors import PermissionDenied, TqError
from tq.verbs import (
    AddNode,
    Backup,
    Cancel,
    CancelMany,
    Claim,
    Deregister,
    DrainWorker,
    Extend,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Heartbeat,
    Import,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Register,
    RemoveNode,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    SetCapacity,
    Settle,
    Submit,
    TransferLeadership,
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
    AddNode: Permission.ADMIN,
    RemoveNode: Permission.ADMIN,
    TransferLeadership: Permission.ADMIN,
    DrainWorker: Permission.ADMIN,
    GetSeries: Permission.READ_TASKS,
    ListQueues: Permission.READ_TASKS,
    ListFailures: Permission.READ_TASKS,
    GroupDeadLetters: Permission.READ_TASKS,
    CancelMany: Permission.CANCEL_TASKS,
    RetryMany: Permission.SUBMIT_TASKS,
    ForgetMany: Permission.ADMIN,
    Import: Permission.ADMIN,
    Ping: None,
    GetHealth: None,
}
"""request class -> what it takes; total over Request (a test checks it). None: any principal may."""


class Principal(NamedTuple):
    """Somebody the broker knows.

    verbs: the request classes it may send, worked out once, looked up per request.
    rate_per_s: how many requests a second its key may make; None = any number.
    """

    name: str
    permissions: frozenset[Permission]
    verbs: frozenset[type[Request]]
    rate_per_s: float | None = None


def principal(name: str, permissions: Iterable[Permission], rate_per_s: float | None = None) -> Principal:
    """A principal with these permissions and the verbs that follow from them."""
    held = frozenset(permissions)
    verbs = (
        verb
        for verb, needed in PERMISSION_OF.items()
        if needed is None or needed in held or Permission.ADMIN in held
    )
    return Principal(name, held, frozenset(verbs), rate_per_s)


def prober() -> Principal:
    """Who asks for health without a key, as load balancers do: may send what takes no permission."""
    return principal("prober", ())


def denial(who: Principal, verb: type[Request]) -> PermissionDenied:
    """The error for a verb that is not among `who.verbs`, naming the permission that is missing."""
    needed = PERMISSION_OF.get(verb)
    remedy = f"it takes the permission {needed}" if needed else "no permission covers it"
    return PermissionDenied(f"{who.name} may not {verb.__name__}: {remedy}")


Verdict: TypeAlias = Callable[[Principal | TqError], None]
"""Told once: who it is, AuthenticationFailed, or BrokerUnavailable when so many are being checked that there is no room."""


BUSY_RETRY_MS = 1_000
"""Advice to somebody whose key could not be checked because of many others': most of those are gone by then."""


class Access(Protocol):
    """Turns the token of a hello (or of a call) into a principal."""

    @property
    def is_open(self) -> bool:
        """Keys are off: there is nobody to recognise, and nobody whose key could be withdrawn."""
        ...

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        """Call verdict once, at once or later: checking a bcrypt hash takes a thread and a tenth of a second.

        address: the caller's host, so that a crowd from one place does not hold up others; empty = not known.
        """
        ...

    def knows(self, who: Principal) -> bool:
        """False once the key of a principal that was let in has been withdrawn or changed."""
        ...


class OpenAccess:
    """`auth.enabled: false`: everybody is the same anonymous principal and may do everything."""

    is_open = True

    def __init__(self) -> None:
        self._anonymous = principal("anonymous", (Permission.ADMIN,))

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        verdict(self._anonymous)

    def knows(self, who: Principal) -> bool:
        return True
