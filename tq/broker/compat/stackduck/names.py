"""Job types and task types: StackDuck takes any text, also none at all, tq takes names.

A job type is its own task type, except for what a name may not hold: control characters and `%` are written `%XX`
as in URLs, and the empty one is a lone `%`.
"""

from __future__ import annotations

import re

QUEUE = "stackduck"
"""The queue that all jobs are in; tq's own clients and workers reach them there."""
_EMPTY = "%"
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f%]")
_WRITTEN = re.compile("%([0-9A-F]{2})")
WORKER_NAME_MAX = 255


def task_type_of(job_type: str) -> str:
    return _FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", job_type) or _EMPTY


def job_type_of(task_type: str) -> str:
    if task_type == _EMPTY:
        return ""
    return _WRITTEN.sub(lambda found: chr(int(found[1], 16)), task_type)


def worker_name_of(worker_id: str) -> str:
    """A name for the worker list; StackDuck's worker ids mean nothing to it."""
    return _FORBIDDEN.sub("?", worker_id)[:WORKER_NAME_MAX] or "stackduck"
