"""What a handler says besides a result or an error: not now, not this time, never."""

from __future__ import annotations

from tq.client.durations import Duration, duration_ms


class Snooze(Exception):
    """Run this task again after a delay, as if this attempt had not been. Costs no retry.

    Return it or raise it; both mean the same. Raising keeps the handler's return type clean.
    """

    def __init__(self, delay: Duration) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay_ms = duration_ms(delay, "Snooze")


class RetryLater(Exception):
    """This attempt failed; try again after `after` instead of the delay of the retry policy. Spends a retry.

    after: None leaves the delay to the retry policy. text: the error that the task's history shows.
    """

    def __init__(self, text: str = "", *, after: Duration | None = None) -> None:
        super().__init__(text or "the handler asked for another attempt")
        self.delay_ms = -1 if after is None else duration_ms(after, "RetryLater")


class Fatal(Exception):
    """Trying again is useless: straight to dead letter, whatever retries are left."""


class Stopped(BaseException):
    """Thrown into a handler's thread to stop it: its time is up, or it was cancelled.

    Not an `Exception`, so that `except Exception` in a handler does not swallow it.
    """
