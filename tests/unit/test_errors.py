"""The tree of errors: every one has a code and an outcome, and survives being sent."""

from __future__ import annotations

import copy
import multiprocessing
from multiprocessing.connection import Connection

import pytest

from tq.errors import BY_CODE, NotLeader, Outcome, OutcomeUnknown, QueueFull, TqError, from_code

KINDS = list(BY_CODE.values())


def all_kinds(base: type[TqError]) -> list[type[TqError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in all_kinds(child))]


def test_every_error_stands_under_a_code_of_its_own() -> None:
    own = [kind for kind in all_kinds(TqError) if "code" in vars(kind)]
    assert sorted(kind.__name__ for kind in own) == sorted(kind.__name__ for kind in KINDS)
    assert all(code == kind.code for code, kind in BY_CODE.items())


def test_every_class_names_its_own_code() -> None:
    assert all("code" in vars(kind) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_an_outcome_and_its_docstring_as_default_text(kind: type[TqError]) -> None:
    error = kind()

    assert isinstance(error.outcome, Outcome)
    assert error.text == str(error) == (kind.__doc__ or "").strip().splitlines()[0] != ""


def test_codes_and_outcomes_that_callers_rely_on_never_change() -> None:
    assert {code: str(kind.outcome) for code, kind in BY_CODE.items()} == {
        "INTERNAL": "unknown",
        "BAD_REQUEST": "rejected",
        "PAYLOAD_TOO_LARGE": "rejected",
        "TASK_NOT_FOUND": "rejected",
        "WORKER_NOT_FOUND": "rejected",
        "INVALID_STATUS": "rejected",
        "LEASE_LOST": "rejected",
        "UNSUPPORTED": "rejected",
        "AUTHENTICATION_FAILED": "rejected",
        "PERMISSION_DENIED": "rejected",
        "PROTOCOL_ERROR": "rejected",
        "QUEUE_DEPTH_EXCEEDED": "unavailable",
        "RATE_LIMIT_EXCEEDED": "unavailable",
        "BROKER_UNAVAILABLE": "unavailable",
        "NOT_LEADER": "unavailable",
        "TOO_MANY_CONNECTIONS": "unavailable",
        "OUTCOME_UNKNOWN": "unknown",
        "TASK_FAILED": "rejected",
        "STORE_DAMAGED": "rejected",
    }


def test_error_named_by_a_peer_comes_back_with_all_it_said() -> None:
    error = from_code("NOT_LEADER", "ask another", retry_after_ms=7, leader="host:1")

    assert type(error) is NotLeader
    assert (error.text, error.retry_after_ms, error.leader) == ("ask another", 7, "host:1")


def test_unknown_code_of_a_newer_peer_is_read_with_care() -> None:
    assert type(from_code("NEWER_THAN_THIS", "what?")) is OutcomeUnknown


def test_copied_error_is_the_same_error() -> None:
    error = copy.copy(QueueFull("full", retry_after_ms=100, leader="host:1"))

    assert type(error) is QueueFull
    assert (error.text, error.retry_after_ms, error.leader) == ("full", 100, "host:1")


def test_error_crosses_to_another_process_whole() -> None:
    ours, theirs = multiprocessing.Pipe()
    _send(theirs, QueueFull("full", retry_after_ms=100))

    error = ours.recv()

    assert type(error) is QueueFull and (error.text, error.retry_after_ms) == ("full", 100)


def _send(pipe: Connection, error: TqError) -> None:
    pipe.send(error)
    pipe.close()
