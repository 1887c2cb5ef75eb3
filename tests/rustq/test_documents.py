"""The parts without servers: documents, delays, options, names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rustq import rust
from tq.client.rustq import BackoffStrategy, JobOptions, WorkerOptions
from tq.client.rustq.adopted import left_of, task_of
from tq.client.rustq.backoff import DELAY_MS_CAP
from tq.client.rustq.job import Additions, Job, JobStatus, from_json, to_json
from tq.client.rustq.names import delay_queue, names_of, rounded_up
from tq.errors import BadRequest
from tq.retry import delay_ms

DURATIONS = st.integers(0, 40 * 24 * 3600 * 1000).map(lambda ms: ms / 1000)
BACKOFFS = st.one_of(
    DURATIONS.map(BackoffStrategy.fixed),
    DURATIONS.map(BackoffStrategy.exponential),
    st.lists(DURATIONS, min_size=1, max_size=5).map(BackoffStrategy.custom),
)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
JOBS = st.builds(
    Job,
    TEXTS,
    TEXTS,
    st.binary(max_size=60),
    st.sampled_from(JobStatus),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 50),
    st.integers(0, 50),
    st.none() | TEXTS,
    BACKOFFS,
    st.builds(Additions, st.just("mail"), st.integers(0, 255), st.integers(0, 10**9), st.integers(0, 10**13)),
)


@given(JOBS)
def test_a_document_reads_back_as_the_job_it_was_made_of_and_rust_reads_it_too(job: Job) -> None:
    document = to_json(job)

    assert from_json(document) == job
    assert rust.read(document).payload == job.payload
    assert tuple(json.loads(document))[: len(rust.KEYS)] == rust.KEYS


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (BackoffStrategy.fixed(5), [5_000, 5_000, 5_000]),
        (BackoffStrategy.exponential(1), [1_000, 2_000, 4_000]),
        (BackoffStrategy.custom([1, 3]), [1_000, 3_000, 3_000]),
        (BackoffStrategy.exponential("1ms"), [1, 2, 4]),
    ],
    ids=["fixed", "exponential", "custom", "milliseconds"],
)
def test_delays_are_those_of_rustq_here_and_on_a_broker(backoff: BackoffStrategy, delays: list[int]) -> None:
    assert [backoff.delay_ms(retries) for retries in range(3)] == delays
    assert [delay_ms(backoff.policy(), failures, b"") for failures in (1, 2, 3)] == delays


def test_a_delay_past_what_rabbitmq_has_ends_at_it_instead_of_starting_over() -> None:
    assert BackoffStrategy.exponential("1d").delay_ms(40) == DELAY_MS_CAP
    assert BackoffStrategy.from_wire({"Fixed": {"secs": 2**63, "nanos": 0}}).delay_ms(0) == DELAY_MS_CAP


def test_an_empty_list_of_delays_which_rustq_can_write_means_at_once() -> None:
    assert BackoffStrategy.from_wire({"Custom": []}).delay_ms(3) == 0
    assert delay_ms(BackoffStrategy.from_wire({"Custom": []}).policy(), 1, b"") == 0


@given(BACKOFFS, st.integers(0, 5), st.integers(0, 3))
def test_what_is_left_of_a_backoff_goes_on_where_it_was(
    backoff: BackoffStrategy, used: int, more: int
) -> None:
    assert left_of(backoff, used).delay_ms(more) == backoff.delay_ms(used + more)


@given(BACKOFFS)
def test_a_backoff_is_told_from_the_policy_it_became(backoff: BackoffStrategy) -> None:
    assert BackoffStrategy.of_policy(backoff.policy()) == backoff


@given(st.integers(1, DELAY_MS_CAP - 3 * 3_600_000))
def test_a_rounded_delay_is_never_shorter_and_at_most_one_percent_longer(delay: int) -> None:
    assert delay <= rounded_up(delay) <= delay * 1.01 + 1
    arguments = delay_queue("mail", delay).arguments
    assert int(arguments["x-expires"]) >= int(arguments["x-message-ttl"]) + 3_600_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: JobOptions(delay=-1),
        lambda: JobOptions(delay="50d"),
        lambda: JobOptions(attempts=0),
        lambda: JobOptions(max_retries=-1),
        lambda: JobOptions(max_retries=True),
        lambda: JobOptions(priority=256),
        lambda: JobOptions(timeout=0),
        lambda: JobOptions(backoff=5),  # type: ignore[arg-type]
        lambda: WorkerOptions(concurrency=0),
        lambda: WorkerOptions(num_workers=0),
        lambda: BackoffStrategy.custom([]),
        lambda: BackoffStrategy.fixed("60d"),
        lambda: names_of(""),
        lambda: names_of("amq.mine"),
        lambda: names_of("x" * 250),
    ],
)
def test_an_option_out_of_range_is_refused_when_it_is_given(make: object) -> None:
    with pytest.raises(BadRequest):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("concurrency", "num_workers", "shares"),
    [(5, 3, (2, 2, 1)), (1, 3, (1,)), (9, 3, (3, 3, 3)), (4, 1, (4,))],
)
def test_consumers_share_the_slots_and_none_is_added(
    concurrency: int, num_workers: int, shares: tuple[int, ...]
) -> None:
    assert WorkerOptions(concurrency=concurrency, num_workers=num_workers).shares == shares


def test_a_job_whose_id_is_no_uuid_becomes_the_same_task_every_time_and_keeps_its_name() -> None:
    job = from_json(rust.PRODUCED)._replace(id="invoice-7")

    first, second = task_of(job, "mail"), task_of(job, "mail")

    assert first.task_id == second.task_id
    assert first.spec_with(b"").metadata == {"rustq_id": "invoice-7"}
