"""From a checked body to the TaskSpec of the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from tq.broker.api.rest.schemas import NewTask, RetryPolicyBody
from tq.errors import BadRequest
from tq.protocol.validate import FAULTS_SHOWN_MAX, check_tasks
from tq.retry import CUSTOM, STRATEGIES, RetryPolicy
from tq.task import TaskSpec


def task_specs(
    tasks: Sequence[NewTask], new_id: Callable[[], bytes], *, place: str = "tasks[{}]."
) -> tuple[TaskSpec, ...]:
    """The tasks of one submit, ids made for those that have none.

    place: how a problem names its task. Raises BadRequest naming every wrong field, PayloadTooLarge.
    """
    problems: list[str] = []
    specs = []
    for position, task in enumerate(tasks):
        payload = _payload(task)
        found = _problems(task, payload)
        if found:
            problems += [place.format(position) + text for text in found]
        else:
            specs.append(_spec(task, payload or b"", new_id))
    if problems:
        raise BadRequest("; ".join(problems[:FAULTS_SHOWN_MAX]))
    return check_tasks(specs)


def _payload(task: NewTask) -> bytes | None:
    """The payload's bytes; None when its JSON holds what JSON has no text for."""
    if "payload_json" not in task.model_fields_set:
        return task.payload
    try:
        text = json.dumps(task.payload_json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return None
    return text.encode()


def _problems(task: NewTask, payload: bytes | None) -> list[str]:
    """What no single field shows."""
    problems = []
    if payload is None:
        problems.append("payload_json: NaN and Infinity are no JSON numbers")
    if {"payload", "payload_json"} <= task.model_fields_set:
        problems.append("payload: and payload_json are both given; one of them is the payload")
    if task.schedule_at and task.delay_seconds:
        problems.append("schedule_at: and delay_seconds are both given; one of them says when")
    if task.unique_ttl and not task.unique_key:
        problems.append("unique_ttl: is given without a unique_key")
    policy = task.retry
    if policy is not None and policy.strategy == "custom" and not policy.delays_seconds:
        problems.append("retry.delays_seconds: the custom strategy takes at least one")
    return problems


def _spec(task: NewTask, payload: bytes, new_id: Callable[[], bytes]) -> TaskSpec:
    return TaskSpec(
        task.task_id or new_id(),
        task.task_type,
        payload,
        task.queue,
        task.priority,
        task.schedule_at,
        task.delay_seconds,
        task.timeout_seconds,
        task.max_retries,
        None if task.retry is None else _policy(task.retry),
        tuple(task.dependencies),
        task.expires_at,
        task.unique_key,
        task.unique_ttl,
        task.metadata,
    )


def _policy(body: RetryPolicyBody) -> RetryPolicy:
    return RetryPolicy(
        STRATEGIES.index(body.strategy),
        body.base_seconds,
        body.factor,
        body.cap_seconds,
        body.jitter,
        tuple(body.delays_seconds) if STRATEGIES.index(body.strategy) == CUSTOM else (),
    )
