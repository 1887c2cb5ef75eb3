"""The one table from errors to status codes."""

from __future__ import annotations

import grpc
import pytest

from tq.broker.api.status_map import STATUS_OF, status_of
from tq.errors import BY_CODE, Outcome, TqError


def test_every_error_has_its_row_and_no_row_is_left_over() -> None:
    assert STATUS_OF.keys() == BY_CODE.keys()


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=list(BY_CODE))
def test_statuses_say_what_the_outcome_says(kind: type[TqError]) -> None:
    row = status_of(kind())

    assert row.grpc in grpc.StatusCode.__members__
    assert (row.http in (429, 503)) == (kind.outcome is Outcome.UNAVAILABLE)
    assert (row.http in (500, 504)) == (kind.outcome is Outcome.UNKNOWN or kind.code == "STORE_DAMAGED")


def test_codes_of_the_contract_stand_as_written() -> None:
    contract = {
        "TASK_NOT_FOUND": 404,
        "INVALID_STATUS": 409,
        "QUEUE_DEPTH_EXCEEDED": 503,
        "RATE_LIMIT_EXCEEDED": 429,
        "AUTHENTICATION_FAILED": 401,
        "PERMISSION_DENIED": 403,
        "BAD_REQUEST": 400,
        "PAYLOAD_TOO_LARGE": 413,
        "BROKER_UNAVAILABLE": 503,
        "OUTCOME_UNKNOWN": 504,
    }

    assert {row.word: row.http for row in STATUS_OF.values()}.items() >= contract.items()
