"""The vocabulary of tasks: tables that must be total, and numbers that must not change."""

from __future__ import annotations

from tq import task
from tq.retry import DEFAULT_RETRY, FIXED, RetryPolicy
from tq.task import (
    ENDED_STATES,
    LEGAL_TRANSITIONS,
    LIVE_STATES,
    NO_COUNTERS,
    STATE_OF_STATUS,
    STATUS_OF_STATE,
    Cause,
    Priority,
    State,
    TaskSpec,
    TaskView,
)


def test_plain_numbers_are_those_of_the_enumeration() -> None:
    assert {state.name: state.value for state in State} == {
        state.name: getattr(task, state.name) for state in State
    }


def test_numbers_of_states_and_causes_on_the_wire_never_change() -> None:
    assert [state.name for state in sorted(State)] == [
        "SCHEDULED",
        "BLOCKED",
        "PENDING",
        "IN_PROGRESS",
        "RETRYING",
        "COMPLETED",
        "DEAD_LETTER",
        "CANCELLED",
        "EXPIRED",
    ]
    assert [cause.name for cause in sorted(Cause)] == [
        "DONE",
        "ERROR",
        "TIMEOUT",
        "CRASH",
        "LEASE_LOST",
        "RELEASED",
        "CANCELLED",
        "SNOOZED",
        "FATAL",
    ]
    assert [int(min(State)), int(min(Cause))] == [1, 0]


def test_every_state_is_either_live_or_ended() -> None:
    assert sorted(LIVE_STATES + ENDED_STATES) == sorted(State)
    assert max(LIVE_STATES) < min(ENDED_STATES)


def test_every_state_has_a_word_of_its_own_and_every_word_a_state() -> None:
    assert STATUS_OF_STATE.keys() == set(State)
    assert len(set(STATUS_OF_STATE.values())) == len(State)
    assert {STATE_OF_STATUS[word] for word in STATUS_OF_STATE.values()} == set(State)
    assert STATE_OF_STATUS["retrying"] == STATE_OF_STATUS["failed"] == State.RETRYING


def test_transitions_are_told_for_every_state_and_lead_back_only_from_dead_letter_and_cancelled() -> None:
    assert LEGAL_TRANSITIONS.keys() == set(State)
    assert all(to in set(State) for targets in LEGAL_TRANSITIONS.values() for to in targets)
    assert [state for state in ENDED_STATES if LEGAL_TRANSITIONS[state]] == [
        State.DEAD_LETTER,
        State.CANCELLED,
    ]


def test_names_of_priorities_fall_into_their_tiers() -> None:
    assert (
        Priority.LOW < task.PRIORITY_NORMAL_MIN <= Priority.NORMAL < task.PRIORITY_HIGH_MIN <= Priority.HIGH
    )
    assert Priority.HIGH <= task.PRIORITY_MAX
    assert task.DEFAULT_PRIORITY == Priority.NORMAL


def test_spec_without_a_policy_retries_by_the_default() -> None:
    assert TaskSpec(bytes(16), "send").retry_policy is DEFAULT_RETRY
    assert TaskSpec(bytes(16), "send", retry=RetryPolicy(FIXED)).retry_policy.strategy == FIXED


def test_view_knows_its_word_and_whether_it_has_ended() -> None:
    view = TaskView(bytes(16), "send", "mail", State.RETRYING, "", 150, 0, 0, 0, 1, 3, 1, "")

    assert (view.status, view.has_ended) == ("failed", False)
    assert view._replace(state=State.EXPIRED).has_ended
    assert view.counters is NO_COUNTERS
