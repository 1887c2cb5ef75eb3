"""tq: a distributed, durable task queue. What programs import; nothing is loaded before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tq.client.aio import AsyncClient
    from tq.client.aio import AsyncClient as TaskQueueAsyncClient
    from tq.client.info import TaskInfo
    from tq.client.sync import Client
    from tq.client.sync import Client as TaskQueueClient
    from tq.client.task import Task
    from tq.errors import (
        AuthenticationFailed,
        BadRequest,
        BrokerUnavailable,
        InvalidStatus,
        LeaseLost,
        NotLeader,
        Outcome,
        OutcomeUnknown,
        PayloadTooLarge,
        PermissionDenied,
        ProtocolError,
        QueueFull,
        RateLimited,
        TaskFailed,
        TaskNotFound,
        TooManyConnections,
        TqError,
        Unsupported,
    )
    from tq.retry import RetryPolicy
    from tq.task import Cause, Priority, State
    from tq.worker.app import App
    from tq.worker.context import current
    from tq.worker.control import Fatal, RetryLater, Snooze
    from tq.worker.handle import Handle
    from tq.worker.options import Retry

    __version__: str

_HOME = {
    "App": "tq.worker.app:App",
    "Retry": "tq.worker.options:Retry",
    "Snooze": "tq.worker.control:Snooze",
    "RetryLater": "tq.worker.control:RetryLater",
    "Fatal": "tq.worker.control:Fatal",
    "current": "tq.worker.context:current",
    "Handle": "tq.worker.handle:Handle",
    "AsyncClient": "tq.client.aio:AsyncClient",
    "Client": "tq.client.sync:Client",
    "TaskQueueAsyncClient": "tq.client.aio:AsyncClient",
    "TaskQueueClient": "tq.client.sync:Client",
    "Task": "tq.client.task:Task",
    "TaskInfo": "tq.client.info:TaskInfo",
    "Cause": "tq.task:Cause",
    "Priority": "tq.task:Priority",
    "State": "tq.task:State",
    "RetryPolicy": "tq.retry:RetryPolicy",
    "__version__": "tq.version:VERSION",
    "AuthenticationFailed": "tq.errors:AuthenticationFailed",
    "BadRequest": "tq.errors:BadRequest",
    "BrokerUnavailable": "tq.errors:BrokerUnavailable",
    "InvalidStatus": "tq.errors:InvalidStatus",
    "LeaseLost": "tq.errors:LeaseLost",
    "NotLeader": "tq.errors:NotLeader",
    "Outcome": "tq.errors:Outcome",
    "OutcomeUnknown": "tq.errors:OutcomeUnknown",
    "PayloadTooLarge": "tq.errors:PayloadTooLarge",
    "PermissionDenied": "tq.errors:PermissionDenied",
    "ProtocolError": "tq.errors:ProtocolError",
    "QueueFull": "tq.errors:QueueFull",
    "RateLimited": "tq.errors:RateLimited",
    "TaskFailed": "tq.errors:TaskFailed",
    "TaskNotFound": "tq.errors:TaskNotFound",
    "TooManyConnections": "tq.errors:TooManyConnections",
    "TqError": "tq.errors:TqError",
    "Unsupported": "tq.errors:Unsupported",
}
"""name -> module:attribute; total over __all__ (a test checks it)."""

__all__ = [
    "App",
    "AsyncClient",
    "AuthenticationFailed",
    "BadRequest",
    "BrokerUnavailable",
    "Cause",
    "Client",
    "Fatal",
    "Handle",
    "InvalidStatus",
    "LeaseLost",
    "NotLeader",
    "Outcome",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "PermissionDenied",
    "Priority",
    "ProtocolError",
    "QueueFull",
    "RateLimited",
    "Retry",
    "RetryLater",
    "RetryPolicy",
    "Snooze",
    "State",
    "Task",
    "TaskFailed",
    "TaskInfo",
    "TaskNotFound",
    "TaskQueueAsyncClient",
    "TaskQueueClient",
    "TooManyConnections",
    "TqError",
    "Unsupported",
    "__version__",
    "current",
]


def __getattr__(name: str) -> object:
    """Import what is asked for, when it is asked for (PEP 562), and keep it here."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'tq' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
