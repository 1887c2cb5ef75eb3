"""Does it fit."""

from __future__ import annotations

from tq.broker.admission import Admission, Limits
from tq.errors import BadRequest, Outcome, QueueFull, TooManyConnections

ADMISSION = Admission(Limits(queue_depth_max=10, connections_max=2))


def test_a_submit_that_reaches_the_depth_limit_fits() -> None:
    assert ADMISSION.refuse_submit(4, 6) is None


def test_a_submit_that_would_pass_the_depth_limit_is_told_when_and_how_to_try_again() -> None:
    refusal = ADMISSION.refuse_submit(5, 6)

    assert isinstance(refusal, QueueFull)
    assert refusal.retry_after_ms > 0
    assert refusal.text.startswith("6 tasks wait and 5 more would pass the limit of 10")
    assert "--queue-depth-threshold" in refusal.text


def test_a_batch_that_can_never_fit_is_rejected_rather_than_put_off() -> None:
    refusal = ADMISSION.refuse_submit(11, 0)

    assert isinstance(refusal, BadRequest)
    assert refusal.outcome is Outcome.REJECTED


def test_the_last_connection_fits_and_the_next_is_told_the_limit() -> None:
    assert ADMISSION.refuse_connection(1) is None
    refusal = ADMISSION.refuse_connection(2)
    assert isinstance(refusal, TooManyConnections)
    assert "--max-connections" in refusal.text
    assert refusal.retry_after_ms > 0
