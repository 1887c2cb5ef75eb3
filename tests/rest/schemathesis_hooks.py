"""Loaded by Schemathesis: what no schema can say of a body."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import schemathesis

from tq.task import DEPENDENCIES_MAX


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: object, case: Any, kwargs: object) -> None:
    """Dependencies are ids of tasks that exist: a well-formed list of invented ones is refused, and rightly."""
    if not isinstance(case.body, dict):
        return
    tasks = case.body.get("tasks")
    for task in [case.body, *(tasks if isinstance(tasks, list) else [])]:
        if isinstance(task, dict) and _is_well_formed(task.get("dependencies")):
            del task["dependencies"]


def _is_well_formed(dependencies: object) -> bool:
    if not isinstance(dependencies, list) or len(dependencies) > DEPENDENCIES_MAX:
        return False
    try:
        return len({UUID(each) for each in dependencies}) == len(dependencies)
    except (ValueError, TypeError, AttributeError):
        return False
