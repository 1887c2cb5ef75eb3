"""A page of tasks as JSON text, written out at once: byte for byte what encoding `documents.of_page` gives.

A page is a hundred tasks of thirty fields each, and nearly all of them are null, or the same as the neighbour's. To make
documents of them and encode those was more than half of what a page cost the event loop; this is a quarter of that. What
few tasks have is still made by `tq.documents`. A test holds both to each other, with tasks of every kind.
"""

from __future__ import annotations

import json
from functools import lru_cache
from json.encoder import encode_basestring as quoted

from tq import documents
from tq.ids import to_text
from tq.retry import RetryPolicy
from tq.task import Counters, TaskView
from tq.verbs import TaskPage

ALIKE_MAX = 256
"""Retry policies, and counts of attempts, whose text is kept; a broker's tasks share a few."""
_HEAD = '{"tasks":['
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def page_text(page: TaskPage) -> str:
    """The document of a page, encoded."""
    rest = _encode(documents.of_page(page._replace(tasks=()))).removeprefix(_HEAD)
    return _HEAD + ",".join([task_text(task) for task in page.tasks]) + rest


def task_text(task: TaskView) -> str:
    """The document of a task, encoded."""
    result_bytes = task.result_bytes if task.result is None else len(task.result)
    created = _moment(task.created_ms)
    updated = created if task.updated_ms == task.created_ms else _moment(task.updated_ms)
    return (
        f'{{"task_id":"{to_text(task.task_id)}","task_type":{quoted(task.task_type)},"queue":{quoted(task.queue)}'
        f',"status":"{task.status}","state_reason":{quoted(task.state_reason)},"priority":{task.priority}'
        f',"created_at":{created},"updated_at":{updated}'
        f',"started_at":{_moment(task.started_ms)},"ended_at":{_moment(task.ended_ms)}'
        f',"schedule_at":{_moment(task.schedule_at_ms)},"expires_at":{_moment(task.expires_at_ms)}'
        f',"timeout_seconds":{documents.seconds(task.timeout_ms)},"max_retries":{task.max_retries}'
        f',"retry_count":{task.retry_count},"retry":{_retry(task.retry)},"worker_id":{_text(task.worker_id)}'
        f',"result":{_bytes(task.result)},"error":{_text(task.error)},"progress":{_progress(task)}'
        f',"attempts":{_attempts(task)},"counters":{_counters(task.counters)},"payload":{_bytes(task.payload)}'
        f',"payload_bytes":{_known(task.payload_bytes)},"result_bytes":{_known(result_bytes)}'
        f',"dependencies":{_dependencies(task)},"unique_key":{_text(task.unique_key)}'
        f',"metadata":{_encode(task.metadata) if task.metadata else "{}"}}}'
    )


def _moment(ms: int) -> str:
    text = documents.moment(ms) if ms else None
    return "null" if text is None else f'"{text}"'


def _text(text: str) -> str:
    return quoted(text) if text else "null"


def _bytes(data: bytes | None) -> str:
    text = documents.base64(data)
    return "null" if text is None else f'"{text}"'


def _known(number: int) -> int | str:
    return "null" if number < 0 else number


def _progress(task: TaskView) -> str:
    return "null" if task.progress is None else _encode(documents.of_progress(task.progress))


def _attempts(task: TaskView) -> str:
    if not task.attempts:
        return "[]"
    return _encode([documents.of_attempt(attempt) for attempt in task.attempts])


def _dependencies(task: TaskView) -> str:
    return _encode([to_text(task_id) for task_id in task.dependencies]) if task.dependencies else "[]"


@lru_cache(maxsize=ALIKE_MAX)
def _retry(policy: RetryPolicy) -> str:
    return _encode(documents.of_retry(policy))


@lru_cache(maxsize=ALIKE_MAX)
def _counters(counters: Counters) -> str:
    return _encode(counters._asdict())
