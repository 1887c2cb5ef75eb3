"""A page that is written out at once reads like one whose documents are encoded."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tq import documents
from tq.broker.api.rest.page_texts import page_text
from tq.retry import STRATEGIES, RetryPolicy
from tq.task import STATUS_OF_STATE, Attempt, Cause, Counters, TaskView
from tq.verbs import TaskPage

COUNT = st.integers(0, 2**31)
MOMENT = st.just(0) | st.integers(1, 2**44) | st.integers(0, 2**63)
LENGTH = st.just(-1) | st.integers(0, 10**7)
TEXT = st.text(max_size=20)
ID = st.binary(min_size=16, max_size=16)
BYTES = st.none() | st.binary(max_size=20)
POLICY = st.builds(
    RetryPolicy,
    strategy=st.sampled_from(range(len(STRATEGIES))),
    base_ms=COUNT,
    factor_permille=st.integers(1_000, 10_000),
    cap_ms=COUNT,
    jitter_permille=st.integers(0, 1_000),
    delays_ms=st.lists(COUNT, max_size=3).map(tuple),
)
ATTEMPT = st.builds(
    Attempt,
    number=COUNT,
    worker_id=TEXT,
    token=COUNT,
    started_ms=MOMENT,
    ended_ms=MOMENT,
    cause=st.sampled_from(Cause).map(int) | st.just(99),
    error=TEXT,
)
TASK = st.builds(
    TaskView,
    task_id=ID,
    task_type=TEXT,
    queue=TEXT,
    state=st.sampled_from(list(STATUS_OF_STATE)),
    state_reason=TEXT,
    priority=st.integers(0, 255),
    created_ms=MOMENT,
    updated_ms=MOMENT,
    schedule_at_ms=MOMENT,
    timeout_ms=COUNT,
    max_retries=COUNT,
    retry_count=COUNT,
    worker_id=TEXT,
    result=BYTES,
    error=TEXT,
    attempts=st.lists(ATTEMPT, max_size=2).map(tuple),
    counters=st.builds(Counters, *[COUNT] * 6),
    payload=BYTES,
    payload_bytes=LENGTH,
    started_ms=MOMENT,
    ended_ms=MOMENT,
    token=COUNT,
    expires_at_ms=MOMENT,
    retry=POLICY,
    dependencies=st.lists(ID, max_size=2).map(tuple),
    unique_key=TEXT,
    metadata=st.dictionaries(TEXT, TEXT, max_size=2),
    progress=st.none() | st.tuples(st.integers(0, 1_000), TEXT),
    result_bytes=LENGTH,
)
PAGE = st.builds(
    TaskPage,
    tasks=st.lists(TASK, max_size=2).map(tuple),
    total=COUNT,
    limit=COUNT,
    offset=COUNT,
    next_cursor=st.just(0) | COUNT,
)


@settings(max_examples=40)
@given(PAGE)
def test_a_page_is_written_as_its_documents_are_encoded(page: TaskPage) -> None:
    encoded = json.dumps(documents.of_page(page), ensure_ascii=False, separators=(",", ":"))
    assert page_text(page) == encoded
