"""How long a failed job waits before its next attempt, as rustq writes it in its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from tq.client.durations import Duration, duration_ms
from tq.errors import BadRequest
from tq.retry import CUSTOM, CUSTOM_DELAYS_MAX, DELAY_MS_MAX, EXPONENTIAL, FIXED, RetryPolicy

DELAY_MS_CAP = 2**32 - 1
"""RabbitMQ's longest time to live, 49 days; rustq cuts longer delays off to their low 32 bits, here they end at it."""
NANOS_PER_SECOND = 1_000_000_000
NANOS_PER_MS = 1_000_000
SECONDS_MAX = 2**64 - 1
"""What a Rust Duration holds."""


class Kind(StrEnum):
    """The tags of the wire."""

    FIXED = "Fixed"
    EXPONENTIAL = "Exponential"
    CUSTOM = "Custom"


_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class BackoffStrategy:
    """When a failed job runs again. Make one with `fixed`, `exponential` or `custom`.

    nanos: the durations in nanoseconds: exactly one, but for CUSTOM.
    """

    kind: Kind
    nanos: tuple[int, ...]

    @classmethod
    def fixed(cls, delay: Duration) -> Self:
        """Always the same delay. Raises BadRequest."""
        return cls(Kind.FIXED, (_nanos(delay),))

    @classmethod
    def exponential(cls, base: Duration) -> Self:
        """base, then twice as long each time; no delay is longer than 49 days. Raises BadRequest."""
        return cls(Kind.EXPONENTIAL, (_nanos(base),))

    @classmethod
    def custom(cls, delays: Sequence[Duration]) -> Self:
        """The delays one by one, the last one again when they run out; 1 to 100 of them. Raises BadRequest."""
        if not 1 <= len(delays) <= CUSTOM_DELAYS_MAX:
            raise BadRequest(f"backoff has {len(delays)} delays; it takes 1 to {CUSTOM_DELAYS_MAX}")
        return cls(Kind.CUSTOM, tuple(_nanos(delay) for delay in delays))

    def delay_ms(self, retry_count: int) -> int:
        """Milliseconds to wait after a failure. retry_count: the job's, before this failure counts."""
        if not self.nanos:
            return 0  # an empty Custom, which rustq writes and then panics over
        if self.kind is Kind.CUSTOM:
            nanos = self.nanos[min(retry_count, len(self.nanos) - 1)]
        else:
            # 2^64 times anything above nothing is past the cap; without the bound the number would grow with the count.
            nanos = self.nanos[0] << min(retry_count, 64) * (self.kind is Kind.EXPONENTIAL)
        return min(-(-nanos // NANOS_PER_MS), DELAY_MS_CAP)

    def policy(self) -> RetryPolicy:
        """The same for a tq broker. Delays past a year, which a broker does not take, end at a year."""
        delays = tuple(min(-(-nanos // NANOS_PER_MS), DELAY_MS_MAX) for nanos in self.nanos) or (0,)
        if self.kind is Kind.CUSTOM:
            delays = delays[:CUSTOM_DELAYS_MAX]
            return RetryPolicy(CUSTOM, delays[0], cap_ms=max(delays), jitter_permille=0, delays_ms=delays)
        strategy = FIXED if self.kind is Kind.FIXED else EXPONENTIAL
        return RetryPolicy(strategy, delays[0], cap_ms=DELAY_MS_CAP, jitter_permille=0)

    @classmethod
    def of_policy(cls, policy: RetryPolicy) -> Self:
        """The nearest strategy to a tq retry policy; a linear one becomes the list of its first delays."""
        if policy.strategy == EXPONENTIAL:
            return cls(Kind.EXPONENTIAL, (policy.base_ms * NANOS_PER_MS,))
        if policy.strategy == CUSTOM:
            return cls(Kind.CUSTOM, tuple(delay * NANOS_PER_MS for delay in policy.delays_ms))
        if policy.strategy == FIXED:
            return cls(Kind.FIXED, (policy.base_ms * NANOS_PER_MS,))
        delays = (min(policy.base_ms * number, policy.cap_ms) for number in range(1, CUSTOM_DELAYS_MAX + 1))
        return cls(Kind.CUSTOM, tuple(delay * NANOS_PER_MS for delay in delays))

    def to_wire(self) -> dict[str, object]:
        """`{"Fixed": {"secs": 5, "nanos": 0}}`, as serde writes the enum."""
        durations = [
            {"secs": nanos // NANOS_PER_SECOND, "nanos": nanos % NANOS_PER_SECOND} for nanos in self.nanos
        ]
        return {self.kind.value: durations if self.kind is Kind.CUSTOM else durations[0]}

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Raises ValueError saying what is wrong."""
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError("backoff is not an object with one key")
        ((tag, content),) = value.items()
        if tag not in _KINDS:
            raise ValueError(f"backoff is {str(tag):.40}, which is not one of {', '.join(Kind)}")
        kind = Kind(tag)
        if kind is not Kind.CUSTOM:
            return cls(kind, (_wire_nanos(content),))
        if not isinstance(content, list):
            raise ValueError("backoff Custom is not a list")
        return cls(kind, tuple(_wire_nanos(each) for each in content))


DEFAULT_BACKOFF = BackoffStrategy(Kind.EXPONENTIAL, (NANOS_PER_SECOND,))
"""What rustq gives every job: 1 s, 2 s, 4 s."""


def _nanos(delay: Duration) -> int:
    ms = duration_ms(delay, "backoff")
    if ms > DELAY_MS_CAP:
        raise BadRequest(f"backoff is {delay!r}; a delay is at most 49 days")
    return ms * NANOS_PER_MS


def _wire_nanos(value: object) -> int:
    if not isinstance(value, Mapping):
        raise ValueError("a backoff duration is not an object with secs and nanos")
    seconds, nanos = value.get("secs"), value.get("nanos")
    if type(seconds) is not int or type(nanos) is not int:
        raise ValueError("a backoff duration lacks secs or nanos")
    if not (0 <= seconds <= SECONDS_MAX and 0 <= nanos < 2**32):
        raise ValueError("a backoff duration is out of range")
    return seconds * NANOS_PER_SECOND + nanos
