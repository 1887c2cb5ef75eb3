"""Loaded by Schemathesis: what no schema can say of a body."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import schemathesis

from tq.protocol.limits import FINGERPRINT_CHARS_MAX
from tq.task import (
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    DEPENDENCIES_MAX,
    EXPIRED,
    STATE_OF_STATUS,
)

ALL = set(STATE_OF_STATUS.values())
ENDED = {COMPLETED, DEAD_LETTER, CANCELLED, EXPIRED}
CHANGEABLE = {
    "cancel": ALL - ENDED,
    "retry": {DEAD_LETTER, CANCELLED},
    "delete": ENDED,
}
"""The states that a change of many tasks can change, by the last word of its path."""


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: object, case: Any, kwargs: object) -> None:
    """Dependencies are ids of tasks that exist: a well-formed list of invented ones is refused, and rightly.

    So are two different tasks with one id, and a change of all tasks of a status that none of them can be changed from.
    """
    if not isinstance(case.body, dict):
        return
    tasks = case.body.get("tasks")
    if isinstance(tasks, list):
        _part(tasks)
    chosen = case.body.get("filter")
    if isinstance(chosen, dict):
        _make_possible(chosen, case.operation.path.rpartition("/")[2])
    for task in [case.body, *(tasks if isinstance(tasks, list) else [])]:
        if isinstance(task, dict) and _is_well_formed(task.get("dependencies")):
            del task["dependencies"]


def _make_possible(chosen: dict[str, object], action: str) -> None:
    """Take out of a well-formed filter what this action has nothing to do with."""
    possible, status, fingerprint = CHANGEABLE.get(action), chosen.get("status"), chosen.get("fingerprint")
    if possible and isinstance(status, str) and STATE_OF_STATUS.get(status, -1) in ALL - possible:
        del chosen["status"]
    if action == "cancel" and isinstance(fingerprint, str) and len(fingerprint) <= FINGERPRINT_CHARS_MAX:
        del chosen["fingerprint"]


def _part(tasks: list[object]) -> None:
    """An id of its own to each, so that none is refused for another's."""
    seen: set[str] = set()
    for task in tasks:
        if isinstance(task, dict) and isinstance(task.get("task_id"), str):
            if task["task_id"].lower() in seen:
                del task["task_id"]
            else:
                seen.add(task["task_id"].lower())


def _is_well_formed(dependencies: object) -> bool:
    if not isinstance(dependencies, list) or len(dependencies) > DEPENDENCIES_MAX:
        return False
    try:
        return len({UUID(each) for each in dependencies}) == len(dependencies)
    except (ValueError, TypeError, AttributeError):
        return False
