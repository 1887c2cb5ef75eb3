"""What is said of a job when it is added, and of a worker when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from tq.client.durations import Duration, duration_ms
from tq.client.rustq.backoff import DEFAULT_BACKOFF, DELAY_MS_CAP, BackoffStrategy
from tq.client.task import PriorityLike, priority_number
from tq.errors import BadRequest
from tq.task import RETRIES_MAX, TIMEOUT_MS_MAX, Priority

DEFAULT_RETRIES = 3
CONCURRENCY_MAX = 10_000
"""Above RabbitMQ's 65,535 unacknowledged messages nothing would be gained; long before that, memory."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Options of one job; checked when made, raises BadRequest.

    delay: not started before; at most 49 days, 1 % late at most.
    attempts: executions in all; None = max_retries decides. Where both bound, the smaller one does.
    max_retries: executions after the first.
    backoff: the delays between them.
    priority: 0-255 or "high", "normal", "low". On RabbitMQ there are these three levels.
    timeout: longest run of one attempt; None = no limit.
    """

    delay: Duration | None = None
    attempts: int | None = None
    max_retries: int = DEFAULT_RETRIES
    backoff: BackoffStrategy = DEFAULT_BACKOFF
    priority: PriorityLike = Priority.NORMAL
    timeout: Duration | None = None

    delay_ms: int = field(init=False, repr=False)
    retries: int = field(init=False, repr=False)
    priority_number: int = field(init=False, repr=False)
    timeout_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        retries = _whole(self.max_retries, "max_retries", 0, RETRIES_MAX)
        if self.attempts is not None:
            retries = min(retries, _whole(self.attempts, "attempts", 1, RETRIES_MAX + 1) - 1)
        if not isinstance(self.backoff, BackoffStrategy):
            raise BadRequest(
                f"backoff is {self.backoff!r}; make one with BackoffStrategy.fixed(5) or the like"
            )
        _set(self, "retries", retries)
        _set(self, "delay_ms", _bounded(self.delay, "delay", 0, DELAY_MS_CAP))
        _set(self, "timeout_ms", _bounded(self.timeout, "timeout", 1, TIMEOUT_MS_MAX))
        _set(self, "priority_number", priority_number(self.priority))


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How one worker works; raises BadRequest.

    concurrency: jobs at once, and how many RabbitMQ hands out before their ends are known.
    num_workers: consumers that share them; tq needs no more than one, rustq shows three.
    grace: how long `close` lets running jobs finish before it hands them back.
    """

    concurrency: int = 5
    num_workers: int = 3
    grace: Duration = 60

    def __post_init__(self) -> None:
        _whole(self.concurrency, "concurrency", 1, CONCURRENCY_MAX)
        _whole(self.num_workers, "num_workers", 1, CONCURRENCY_MAX)
        duration_ms(self.grace, "grace")

    @property
    def shares(self) -> tuple[int, ...]:
        """The slots of each consumer: concurrency divided, and no consumer without a slot."""
        consumers = min(self.num_workers, self.concurrency)
        share, rest = divmod(self.concurrency, consumers)
        return tuple(share + (number < rest) for number in range(consumers))


def _set(options: JobOptions, name: str, value: int) -> None:
    object.__setattr__(options, name, value)  # how a frozen dataclass gives itself what it works out


def _whole(value: object, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise BadRequest(f"{name} is {value!r}; it is a number from {low} to {high}")
    return value


def _bounded(value: Duration | None, name: str, low_ms: int, high_ms: int) -> int:
    if value is None:
        return 0
    ms = duration_ms(value, name)
    if not low_ms <= ms <= high_ms:
        raise BadRequest(f"{name} is {value!r}; it is from {low_ms} ms to {high_ms // 86_400_000} days")
    return ms


DEFAULT_OPTIONS = JobOptions()
DEFAULT_WORKER = WorkerOptions()
