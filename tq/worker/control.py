"""What a handler says besides a result or an error: not now, not this time, never."""

from __future__ import annotations

from tq.client.durations import Duration, duration_ms
from tq.errors import BadRequest
from tq.retry import DELAY_MS_MAX


class Snooze(Exception):
    """Run this task again after a delay, as if this attempt had not been. Costs no retry.

    Return it or raise it; both mean the same. Raising keeps the handler's return type clean.
    Raises BadRequest for more than a year.
    """

    def __init__(self, delay: Duration) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay_ms = _delay_ms(delay, "Snooze")


class RetryLater(Exception):
    """This attempt failed; try again after `after` instead of the delay of the retry policy. Spends a retry.

    after: None leaves the delay to the retry policy. text: the error that the task's history shows.
    """

    def __init__(self, text: str = "", *, after: Duration | None = None) -> None:
        super().__init__(text or "the handler asked for another attempt")
        self.delay_ms = -1 if after is None else _delay_ms(after, "RetryLater")


class Fatal(Exception):
    """Trying again is useless: straight to dead letter, whatever retries are left."""


class Stopped(BaseException):
    """Thrown into a handler's thread to stop it: its time is up, or it was cancelled.

    Not an `Exception`, so that `except Exception` in a handler does not swallow it.
    """


def _delay_ms(delay: Duration, what: str) -> int:
    ms = duration_ms(delay, what)
    if ms > DELAY_MS_MAX:
        raise BadRequest(f"{what}: {delay!r} is longer than a year")
    return ms
