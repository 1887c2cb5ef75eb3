"""What an answer is delivered to."""

from __future__ import annotations

from typing import Protocol

from tq.errors import TqError
from tq.verbs import Reply


class Waiter(Protocol):
    """Somebody who waits for one answer. deadline: monotonic seconds, inf = none."""

    @property
    def deadline(self) -> float: ...

    def settle(self, answer: Reply | TqError) -> None:
        """The answer has come. Called once, from inside the exchange; must not call back into it."""
        ...
