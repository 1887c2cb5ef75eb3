"""Names in RabbitMQ: rustq's main queue, and the queues that tq puts beside it under names of its own.

mail                    rustq's: durable, without arguments (any would make the other side's declare fail with 406)
mail.tq.high, .tq.low   what was added with such a priority; rustq's workers do not know them
mail.tq.dead            what will not run again, with the reason in a header
mail.tq.delay.2000      waits for so many milliseconds, then goes to `mail`; deletes itself when not used
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tq.client.rustq.backoff import DELAY_MS_CAP
from tq.errors import BadRequest

QUEUE_BYTES_MAX = 220
"""AMQP's 255, less the longest ending that tq adds."""
IDLE_MS = 3_600_000
"""How long a delay queue stays after its last use is through. Deleting one deletes what is in it, so whoever publishes
into it declares it anew more often than this."""
HIGH_FROM, LOW_BELOW = 200, 100
FIGURES = 3
"""Delays are rounded up to so many decimal figures: at most 1 % late, and a bounded number of delay queues."""


class Declaration(NamedTuple):
    """One durable queue."""

    name: str
    arguments: Mapping[str, int | str] = {}


class QueueNames(NamedTuple):
    """The queues of one rustq queue."""

    main: str

    @property
    def high(self) -> str:
        return f"{self.main}.tq.high"

    @property
    def low(self) -> str:
        return f"{self.main}.tq.low"

    @property
    def dead(self) -> str:
        return f"{self.main}.tq.dead"

    @property
    def lanes(self) -> tuple[str, str, str]:
        """In the order in which their jobs go first."""
        return self.high, self.main, self.low

    def lane(self, priority: int) -> str:
        if priority >= HIGH_FROM:
            return self.high
        return self.main if priority >= LOW_BELOW else self.low


def names_of(queue: str) -> QueueNames:
    """Raises BadRequest for what cannot be a queue's name."""
    if not isinstance(queue, str) or not 1 <= len(queue.encode("utf-8", "replace")) <= QUEUE_BYTES_MAX:
        raise BadRequest(f"the queue's name is {queue!r:.80}; it is a text of 1 to {QUEUE_BYTES_MAX} bytes")
    if queue.startswith("amq."):
        raise BadRequest(f"the queue's name is {queue!r:.80}; RabbitMQ keeps amq. for itself")
    return QueueNames(queue)


def delay_queue(target: str, delay_ms: int) -> Declaration:
    """The queue in which a message waits before it goes to the target. delay_ms: 1 to DELAY_MS_CAP."""
    ttl = rounded_up(delay_ms)
    arguments: dict[str, int | str] = {
        "x-message-ttl": ttl,
        "x-expires": min(ttl + IDLE_MS, DELAY_MS_CAP),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": target,
    }
    return Declaration(f"{target}.tq.delay.{ttl}", arguments)


OVERDUE_MS = 5_000
"""A delayed job that has not been begun so long after its time is looked for."""
DELAY_MS_LONGEST = DELAY_MS_CAP - 2 * IDLE_MS
"""A delay queue must outlive what is in it, and RabbitMQ has one bound for both times."""


def watch_ms(delay_ms: int) -> int:
    """Within how long a delayed job should have been begun; 0 for one without a delay."""
    return rounded_up(min(delay_ms, DELAY_MS_LONGEST)) + OVERDUE_MS if delay_ms else 0


def rounded_up(delay_ms: int) -> int:
    """The delay with FIGURES decimal figures, not shorter than asked for unless RabbitMQ has no longer one."""
    step = int(10 ** max(len(str(delay_ms)) - FIGURES, 0))
    return min(-(-delay_ms // step) * step, DELAY_MS_LONGEST)
