"""Documents have the contract's names, and hold nothing that JSON cannot say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tq import documents
from tq.retry import RetryPolicy
from tq.task import Attempt, Cause, Counters, TaskView
from tq.verbs import (
    BackedUp,
    Cluster,
    Health,
    Member,
    Purged,
    QueueStats,
    Stats,
    TaskPage,
    Workers,
    WorkerView,
)

TASK_ID = bytes(range(16))
TASK = TaskView(
    task_id=TASK_ID,
    task_type="echo",
    queue="default",
    state=6,
    state_reason="completed",
    priority=150,
    created_ms=1_700_000_000_123,
    updated_ms=1_700_000_001_000,
    schedule_at_ms=0,
    timeout_ms=1_500,
    max_retries=3,
    retry_count=1,
    worker_id="",
    result=b"\xff\x00",
    attempts=(
        Attempt(1, "w", 7, 1_700_000_000_200, 1_700_000_000_300, Cause.TIMEOUT, "too slow"),
        Attempt(2, "w", 9, 5),
    ),
    counters=Counters(timeouts=1),
    progress=(500, "half"),
)
STATS = Stats(*range(17), queues=(QueueStats("q", 1, 2, 3, 4, 5, 6, 7, True, "why", ("t",)),))


def test_a_task_has_the_contracts_fields() -> None:
    assert set(documents.of_task(TASK)) >= {
        *("task_id", "task_type", "queue", "status", "state_reason", "priority", "created_at", "updated_at"),
        *(
            "schedule_at",
            "timeout_seconds",
            "max_retries",
            "retry_count",
            "worker_id",
            "result",
            "error",
            "attempts",
        ),
    }


def test_a_tasks_values_are_iso_times_base64_and_seconds() -> None:
    document = documents.of_task(TASK)

    assert document["task_id"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert document["status"] == "completed"
    assert document["created_at"] == "2023-11-14T22:13:20.123Z"
    assert document["result"] == "/wA="
    assert document["timeout_seconds"] == 1.5
    assert document["progress"] == {"fraction": 0.5, "text": "half"}


def test_what_is_not_there_is_null() -> None:
    document = documents.of_task(TASK)
    assert [document[name] for name in ("schedule_at", "worker_id", "error", "payload", "unique_key")] == [
        None
    ] * 5


def test_an_attempt_says_how_it_ended_or_that_it_runs() -> None:
    first, second = (documents.of_attempt(attempt) for attempt in TASK.attempts)
    assert (first["outcome"], first["error"], first["fencing_token"]) == ("timeout", "too slow", 7)
    assert (second["outcome"], second["ended_at"]) == (None, None)


def test_a_cause_of_a_newer_broker_is_its_number() -> None:
    assert documents.cause_word(99) == "99"


def test_stats_have_the_contracts_fields() -> None:
    document = documents.of_stats(STATS)
    assert set(document) >= {
        *(
            "pending_count",
            "in_progress_count",
            "scheduled_count",
            "dead_letter_count",
            "completed_last_hour",
        ),
        *("failed_last_hour", "worker_count", "avg_processing_time_ms", "oldest_pending_age_ms"),
        *("queue_depth_by_priority", "queues"),
    }
    assert document["queue_depth_by_priority"] == {"high": 14, "normal": 15, "low": 16}
    assert "depth_high" not in document


def test_every_document_is_json() -> None:
    worker = WorkerView("w", TASK_ID, "h", 1, "0", "active", 4, ("q",), ("t",), (TASK_ID,), 5, 6, 7, 8)
    for document in (
        documents.of_task(TASK),
        documents.of_page(TaskPage((TASK,), 1, 100, 0, 0)),
        documents.of_stats(STATS),
        documents.of_depths(STATS),
        documents.of_workers(Workers((worker,))),
        documents.of_cluster(Cluster((Member("n", "a", "leader", 1, 2, 3),), "")),
        documents.of_health(Health("healthy", True, "", 1, 2, "strict")),
        documents.of_backup(BackedUp("/b", 1, 2, 3)),
        documents.of_purged(Purged(1, False)),
        documents.of_submitted(TASK_ID, 3, 1),
    ):
        assert json.loads(json.dumps(document)) == document


def test_a_page_names_the_next_one_only_when_there_is_one() -> None:
    assert documents.of_page(TaskPage((), 0, 100, 0, 0))["next_cursor"] is None
    assert documents.of_page(TaskPage((), 0, 100, 0, 7))["next_cursor"] == "7"


@given(st.integers(min_value=0, max_value=2**63))
def test_any_moment_can_be_said(ms: int) -> None:
    text = documents.moment(ms)
    assert text is None or (text.endswith("Z") and len(text) == 24)


@given(st.integers(min_value=1, max_value=253_402_300_799_999))
def test_a_moment_is_that_millisecond(ms: int) -> None:
    text = documents.moment(ms)
    assert text is not None
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert since // timedelta(milliseconds=1) == ms


def test_years_that_iso_cannot_say_are_null() -> None:
    assert documents.moment(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"
    assert documents.moment(253_402_300_800_000) is None


def test_a_policy_is_said_in_seconds() -> None:
    policy = RetryPolicy(3, 1_000, 1_500, 60_000, 50, (1_000, 2_500))
    assert documents.of_retry(policy) == {
        "strategy": "custom",
        "base_seconds": 1,
        "factor": 1.5,
        "cap_seconds": 60,
        "jitter": 0.05,
        "delays_seconds": [1, 2.5],
    }
