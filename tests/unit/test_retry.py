"""Delays between attempts: by the policy, bounded, spread, and the same on every node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.retry import (
    CUSTOM,
    CUSTOM_DELAYS_MAX,
    DEFAULT_RETRY,
    DELAY_MS_MAX,
    EXPONENTIAL,
    FIXED,
    LINEAR,
    STRATEGIES,
    RetryPolicy,
    delay_ms,
)

TASK = bytes(16)
policies = st.builds(
    RetryPolicy,
    st.sampled_from((EXPONENTIAL, FIXED, LINEAR, CUSTOM)),
    st.integers(0, DELAY_MS_MAX),
    st.integers(0, 100_000),
    st.integers(0, DELAY_MS_MAX),
    st.integers(0, 1000),
    st.lists(st.integers(0, DELAY_MS_MAX), max_size=5).map(tuple),
)


def delays(policy: RetryPolicy, count: int) -> list[int]:
    return [delay_ms(policy._replace(jitter_permille=0), number, TASK) for number in range(1, count + 1)]


def test_default_starts_at_five_seconds_doubles_and_stops_at_an_hour() -> None:
    assert delays(DEFAULT_RETRY, 4) == [5_000, 10_000, 20_000, 40_000]
    assert delays(DEFAULT_RETRY, 60)[-1] == 3_600_000


def test_fixed_is_always_the_same() -> None:
    assert delays(RetryPolicy(FIXED, 700), 3) == [700, 700, 700]


def test_linear_grows_by_its_base() -> None:
    assert delays(RetryPolicy(LINEAR, 700, cap_ms=2_000), 4) == [700, 1_400, 2_000, 2_000]


def test_custom_takes_its_list_and_then_the_last_of_it() -> None:
    assert delays(RetryPolicy(CUSTOM, delays_ms=(3, 1, 2)), 5) == [3, 1, 2, 2, 2]


def test_custom_without_a_list_is_its_base() -> None:
    assert delays(RetryPolicy(CUSTOM, 700), 2) == [700, 700]


@pytest.mark.parametrize("factor", [0, 500, 1_000])
def test_factor_of_one_or_less_does_not_grow(factor: int) -> None:
    assert delays(RetryPolicy(EXPONENTIAL, 700, factor), 3) == [700, 700, 700]


def test_very_late_failure_is_worked_out_at_once() -> None:
    assert delay_ms(DEFAULT_RETRY, 10**9, TASK) <= DEFAULT_RETRY.cap_ms


@given(policies, st.integers(1, 2_000), st.binary(min_size=16, max_size=16))
def test_delay_is_between_zero_and_the_cap(policy: RetryPolicy, failures: int, task_id: bytes) -> None:
    assert 0 <= delay_ms(policy, failures, task_id) <= policy.cap_ms


@given(policies, st.integers(1, 50), st.binary(min_size=16, max_size=16))
def test_jitter_stays_within_its_share(policy: RetryPolicy, failures: int, task_id: bytes) -> None:
    plain = delay_ms(policy._replace(jitter_permille=0), failures, task_id)

    spread = abs(delay_ms(policy, failures, task_id) - plain)

    assert spread * 1000 <= plain * policy.jitter_permille


def test_jitter_spreads_tasks_apart_over_the_whole_range() -> None:
    policy = RetryPolicy(FIXED, 1_000, jitter_permille=100)
    found = [delay_ms(policy, 1, number.to_bytes(16, "big")) for number in range(2_000)]

    assert min(found) == 900 and max(found) == 1_100
    assert 990 < sum(found) / len(found) < 1_010


def test_jitter_is_a_matter_of_task_and_failure_alone() -> None:
    policy = RetryPolicy(FIXED, 1_000_000)

    assert [delay_ms(policy, number, TASK) for number in (1, 2, 1)] == [1_094_256, 928_949, 1_094_256]


def test_strategies_have_the_names_users_write() -> None:
    assert [STRATEGIES[number] for number in (EXPONENTIAL, FIXED, LINEAR, CUSTOM)] == [
        "exponential",
        "fixed",
        "linear",
        "custom",
    ]
    assert CUSTOM_DELAYS_MAX == 100
