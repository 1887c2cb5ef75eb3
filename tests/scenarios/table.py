"""The scenarios: what is done, and what every door must answer.

A step calls one method of a speaker, or `work`, `fail` and `release` of the one worker there is, which speaks TCP.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.scenarios.said import Fields, Said, refused
from tq.task import DEPENDENCIES_MAX, METADATA_BYTES_MAX, PAYLOAD_BYTES_MAX, RETRIES_MAX, TIMEOUT_MS_MAX

A, B, C, UNKNOWN = (f"0197{number:04x}-0000-7000-8000-000000000000" for number in range(4))
QUEUE_DEPTH_MAX = 5
KEYS = {
    "ops": ("admin", None),
    "writer": ("submit_tasks", None),
    "reader": ("read_tasks", None),
    "slow": ("admin", 2),
}
"""key -> permissions, requests a second"""


class Step(NamedTuple):
    """do: the method. arguments, named: what it is given. says: the answer, facts being at least these. key: whose."""

    do: str
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = {}  # noqa: RUF012  never written to
    says: Said = Said()
    key: str = "ops"


def step(do: str, *arguments: Any, says: Said | None = None, key: str = "ops", **named: Any) -> Step:
    return Step(do, arguments, named, says or Said(), key)


def facts(**found: object) -> Said:
    return Said(facts=found)


def bad(**wrong: Any) -> Step:
    """A submit of one task with one field that is wrong."""
    return step("submit", Fields(**{"task_id": A, **wrong}), says=refused("BAD_REQUEST"))


SCENARIOS: dict[str, list[Step]] = {
    "a task is submitted, and its id submitted again gives the task that exists": [
        step("submit", Fields(A, "mail", "q1", b"x", 200), says=facts(status="pending", existed=False)),
        step("submit", Fields(A, "other", "q2"), says=facts(status="pending", existed=True)),
        step(
            "get", A, says=facts(task_type="mail", queue="q1", priority=200, status="pending", retry_count=0)
        ),
        step("stats", says=facts(pending_count=1, durability="strict")),
    ],
    "what is left out has the same value everywhere": [
        step("submit", Fields(A)),
        step("get", A, says=facts(queue="default", priority=150, max_retries=3, worker_id="", result=None)),
    ],
    "a batch is all or none": [
        step("submit_batch", Fields(A), Fields(B), says=facts(task_ids=[A, B])),
        step("submit_batch", Fields(C), Fields("nonsense"), says=refused("BAD_REQUEST")),
        step("get", C, says=refused("TASK_NOT_FOUND")),
        step("submit_batch", Fields(B), Fields(C), says=facts(task_ids=[B, C])),
    ],
    "a batch without tasks is done": [
        step("submit_batch", says=facts(task_ids=[])),
        step("stats", says=facts(pending_count=0)),
    ],
    "the very same task twice in a batch is one task, and two tasks of one id are none": [
        step("submit_batch", Fields(A), Fields(B), Fields(A), says=facts(task_ids=[A, B, A])),
        step("stats", says=facts(pending_count=2)),
        step("submit_batch", Fields(C), Fields(C, queue="other"), says=refused("BAD_REQUEST")),
        step("get", C, says=refused("TASK_NOT_FOUND")),
    ],
    "a unique key gives the task that has it": [
        step("submit", Fields(A, unique_key="only one"), says=facts(existed=False)),
        step("submit", Fields(B, unique_key="only one"), says=facts(existed=True)),
        step("get", B, says=refused("TASK_NOT_FOUND")),
        step("submit_batch", Fields(C), Fields(B, unique_key="only one"), says=facts(task_ids=[C, A])),
    ],
    "a scheduled task and a blocked one wait and say so": [
        step("submit", Fields(A, delay_seconds=3600), says=facts(status="scheduled")),
        step("submit", Fields(B, dependencies=(A,)), says=facts(status="blocked")),
        step("get", B, says=facts(status="blocked")),
    ],
    "tasks are listed newest first, by status, type and queue": [
        step("submit", Fields(A, "one", "q1")),
        step("submit", Fields(B, "two", "q1")),
        step("submit", Fields(C, "two", "q2", delay_seconds=3600)),
        step("list", says=facts(task_ids=[C, B, A], total=3)),
        step("list", limit=1, offset=1, says=facts(task_ids=[B], total=3)),
        step("list", queue="q1", says=facts(task_ids=[B, A], total=2)),
        step("list", task_type="two", status="scheduled", says=facts(task_ids=[C], total=1)),
        step("list", queue="nobody's", says=facts(task_ids=[], total=0)),
    ],
    "a waiting task is cancelled, once": [
        step("submit", Fields(A)),
        step("cancel", A),
        step("get", A, says=facts(status="cancelled")),
        step("cancel", A, says=refused("INVALID_STATUS")),
        step("cancel", A, force=True, says=refused("INVALID_STATUS")),
    ],
    "a running task is cancelled only by force": [
        step("submit", Fields(A)),
        step("work"),
        step("get", A, says=facts(status="in_progress", worker_id="the-worker")),
        step("cancel", A, says=refused("INVALID_STATUS")),
        step("cancel", A, force=True),
    ],
    "a completed task has its result and is not cancelled": [
        step("submit", Fields(A)),
        step("work"),
        step("settle", b"the result"),
        step("get", A, says=facts(status="completed", result=b"the result", worker_id="the-worker")),
        step("cancel", A, says=refused("INVALID_STATUS")),
    ],
    "a task that fails for good goes to dead letter and can be retried from there": [
        step("submit", Fields(A, max_retries=0)),
        step("work"),
        step("fail", "it broke"),
        step("get", A, says=facts(status="dead_letter", retry_count=0, result=None)),
        step("retry", A),
        step("get", A, says=facts(status="pending", retry_count=0)),
        step("retry", A, says=refused("INVALID_STATUS")),
    ],
    "a drained worker keeps what it runs and is handed nothing more": [
        step("submit", Fields(A)),
        step("work"),
        step("drain", "the-worker"),
        step("submit", Fields(B)),
        step("get", A, says=facts(status="in_progress", worker_id="the-worker")),
        step("get", B, says=facts(status="pending")),
        step("drain", "nobody", says=refused("WORKER_NOT_FOUND")),
        step("drain", "the-worker", says=refused("PERMISSION_DENIED"), key="reader"),
    ],
    "an id that no task has is not found": [
        step("get", UNKNOWN, says=refused("TASK_NOT_FOUND")),
        step("cancel", UNKNOWN, says=refused("TASK_NOT_FOUND")),
        step("retry", UNKNOWN, says=refused("TASK_NOT_FOUND")),
    ],
    "an id that is none is a bad request": [
        step("get", "nonsense", says=refused("BAD_REQUEST")),
        step("cancel", "nonsense", says=refused("BAD_REQUEST")),
        step("retry", "nonsense", says=refused("BAD_REQUEST")),
        bad(task_id="nonsense"),
        bad(dependencies=("nonsense",)),
    ],
    "each field of a task has its bounds": [
        bad(task_type=""),
        bad(task_type="x" * 256),
        bad(queue="x" * 256),
        bad(priority=256),
        bad(timeout_seconds=0),
        bad(timeout_seconds=TIMEOUT_MS_MAX / 1000 + 1),
        bad(max_retries=RETRIES_MAX + 1),
        bad(delay_seconds=1e9),
        bad(unique_key="x" * 256),
        bad(unique_ttl=60),
        bad(unique_key="k", unique_ttl=1e9),
        bad(metadata=(("k", "x" * METADATA_BYTES_MAX),)),
        bad(dependencies=(UNKNOWN,) * (DEPENDENCIES_MAX + 1)),
        bad(dependencies=(UNKNOWN,)),
        step("get", A, says=refused("TASK_NOT_FOUND")),
    ],
    "a list has its bounds": [
        step("list", limit=1001, says=refused("BAD_REQUEST")),
        step("list", offset=100_001, says=refused("BAD_REQUEST")),
        step("list", status="nonsense", says=refused("BAD_REQUEST")),
        step("list", queue="x" * 256, says=refused("BAD_REQUEST")),
    ],
    "a payload of the largest size is taken and one byte more is not": [
        step("submit", Fields(A, payload=b"x" * PAYLOAD_BYTES_MAX)),
        step("submit", Fields(B, payload=b"x" * (PAYLOAD_BYTES_MAX + 1)), says=refused("PAYLOAD_TOO_LARGE")),
        step("get", B, says=refused("TASK_NOT_FOUND")),
    ],
    "a full queue takes no more, and says when to try again": [
        step(
            "submit_batch", *(Fields(f"0197{number:04x}-1111-7000-8000-000000000000") for number in range(5))
        ),
        step("submit", Fields(A), says=refused("QUEUE_DEPTH_EXCEEDED", has_advice=True)),
        step("stats", says=facts(pending_count=QUEUE_DEPTH_MAX)),
    ],
    "a batch that never fits is not put off": [
        step(
            "submit_batch",
            *(Fields(f"0197{number:04x}-1111-7000-8000-000000000000") for number in range(6)),
            says=refused("BAD_REQUEST"),
        ),
    ],
    "a key does what it permits and nothing else": [
        step("submit", Fields(A), key="writer"),
        step("get", A, key="writer", says=refused("PERMISSION_DENIED")),
        step("list", key="writer", says=refused("PERMISSION_DENIED")),
        step("cancel", A, key="writer", says=refused("PERMISSION_DENIED")),
        step("get", A, key="reader", says=facts(status="pending")),
        step("submit", Fields(B), key="reader", says=refused("PERMISSION_DENIED")),
        step("submit_batch", Fields(B), key="reader", says=refused("PERMISSION_DENIED")),
        step("retry", A, key="reader", says=refused("PERMISSION_DENIED")),
    ],
    "a wrong key or none at all does nothing": [
        step("submit", Fields(A), key="wrong", says=refused("AUTHENTICATION_FAILED")),
        step("get", A, key="wrong", says=refused("AUTHENTICATION_FAILED")),
        step("stats", key="", says=refused("AUTHENTICATION_FAILED")),
        step("get", A, says=refused("TASK_NOT_FOUND")),
    ],
    "requests beyond the rate are refused with a time, and a batch counts each of its tasks": [
        step("submit_batch", Fields(A), Fields(B), key="slow"),
        step("submit", Fields(C), key="slow", says=refused("RATE_LIMIT_EXCEEDED", has_advice=True)),
        step("get", A, key="slow", says=refused("RATE_LIMIT_EXCEEDED", has_advice=True)),
        step("get", C, says=refused("TASK_NOT_FOUND")),
    ],
}
