"""What may be said of a task beyond its arguments: when, how urgent, how long, how often again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Literal, Protocol, TypedDict

from tq.client.durations import Duration, Moment, duration_ms, moment_of
from tq.client.task import PriorityLike, RetryLike, Task
from tq.clock import Clock
from tq.errors import BadRequest
from tq.retry import CUSTOM_DELAYS_MAX, STRATEGIES, RetryPolicy
from tq.task import DEFAULT_MAX_RETRIES, DEFAULT_PRIORITY, DEFAULT_QUEUE


@dataclass(frozen=True)
class Retry:
    """How long to wait before the next attempt.

    strategy: exponential base x factor^(n-1); fixed base; linear base x n; custom the n-th of `delays`.
    cap: no delay is longer. jitter: 0 to 1; 0.1 spreads a delay over 90 % to 110 % of itself.
    delays: giving them means custom. How often is `max_retries`, beside it.
    """

    strategy: Literal["exponential", "fixed", "linear", "custom"] = "exponential"
    base: Duration = 5
    factor: float = 2.0
    cap: Duration = 3600
    jitter: float = 0.1
    delays: Sequence[Duration] = ()

    def policy(self) -> RetryPolicy:
        """The same in milliseconds. Raises BadRequest for what makes no sense."""
        strategy = "custom" if self.delays else self.strategy
        if strategy not in STRATEGIES:
            raise BadRequest(f"retry: {strategy!r} is not one of {', '.join(STRATEGIES)}")
        if strategy == "custom" and not 1 <= len(self.delays) <= CUSTOM_DELAYS_MAX:
            raise BadRequest(f"retry: custom needs 1 to {CUSTOM_DELAYS_MAX} delays")
        if not 0 <= self.jitter <= 1 or not 1 <= self.factor <= 100:
            raise BadRequest("retry: jitter goes from 0 to 1, factor from 1 to 100")
        return RetryPolicy(
            strategy=STRATEGIES.index(strategy),
            base_ms=duration_ms(self.base, "retry base"),
            factor_permille=round(self.factor * 1000),
            cap_ms=duration_ms(self.cap, "retry cap"),
            jitter_permille=round(self.jitter * 1000),
            delays_ms=tuple(duration_ms(delay, "retry delays") for delay in self.delays),
        )


class HasId(Protocol):
    """A handle, or whatever else knows a task id."""

    @property
    def id(self) -> str: ...


class OptionChanges(TypedDict, total=False):
    """The keywords of `.options(...)`; `SubmitOptions` says what each means."""

    delay: Duration | None
    schedule_at: Moment | None
    priority: PriorityLike
    queue: str
    timeout: Duration | None
    max_retries: int
    retry: RetryLike | None
    unique_key: str
    unique_ttl: Duration | None
    expires: Duration | Moment | None
    dependencies: Sequence[str | HasId]
    metadata: Mapping[str, str] | None
    task_id: str | None


class TaskDefaults(TypedDict, total=False):
    """The keywords of `@app.task(...)` that `.options(...)` may change for one call."""

    queue: str
    priority: PriorityLike
    max_retries: int
    timeout: Duration | None
    retry: RetryLike | None
    unique_ttl: Duration | None
    expires: Duration | None


@dataclass(frozen=True)
class SubmitOptions:
    """One task's options.

    delay: counted from the broker's clock at arrival. schedule_at: a moment; one of the two.
    expires: a duration from now, or a moment; not started by then, the task ends as expired.
    unique_key: while a task with this key lives, or for unique_ttl since its submit, sending the key again
        gives that task. dependencies: ids or handles of tasks that must complete first.
    task_id: UUID text; sending an id again gives the task that exists.
    """

    delay: Duration | None = None
    schedule_at: Moment | None = None
    priority: PriorityLike = DEFAULT_PRIORITY
    queue: str = DEFAULT_QUEUE
    timeout: Duration | None = None
    max_retries: int = DEFAULT_MAX_RETRIES
    retry: RetryLike | None = None
    unique_key: str = ""
    unique_ttl: Duration | None = None
    expires: Duration | Moment | None = None
    dependencies: Sequence[str | HasId] = ()
    metadata: Mapping[str, str] | None = None
    task_id: str | None = None

    def merged(self, changes: OptionChanges) -> SubmitOptions:
        """A copy with these changed. Raises BadRequest for a name that is no option."""
        unknown = changes.keys() - OPTION_NAMES
        if unknown:
            raise BadRequest(
                f"{', '.join(sorted(unknown))}: no such option; there are {', '.join(sorted(OPTION_NAMES))}"
            )
        changed = replace(self, **changes)
        if changes.get("unique_ttl") is not None and not changed.unique_key:
            raise BadRequest("unique_ttl is given without a unique_key")
        return changed

    def task(self, task_type: str, payload: bytes, *, new_id: str, clock: Clock) -> Task:
        """The task as a client takes it. new_id: used unless the options carry an id. Raises BadRequest."""
        if isinstance(self.dependencies, str):
            raise BadRequest("dependencies is a text; it is a list of task ids or handles")
        return Task(
            task_type,
            payload,
            self.priority,
            task_id=self.task_id or new_id,
            queue=self.queue,
            schedule_at=self.schedule_at,
            delay=self.delay,
            timeout=self.timeout,
            max_retries=self.max_retries,
            retry=self.retry,
            dependencies=[_id_text(each) for each in self.dependencies],
            expires_at=self._expires_at(clock),
            unique_key=self.unique_key,
            unique_ttl=self.unique_ttl if self.unique_key else None,
            metadata=self.metadata or {},
        )

    def _expires_at(self, clock: Clock) -> Moment | None:
        # Every ISO 8601 date has hyphens and no duration has.
        if self.expires is None or isinstance(self.expires, datetime):
            return self.expires
        if isinstance(self.expires, str) and "-" in self.expires:
            return self.expires
        return moment_of(clock.now_ms() + duration_ms(self.expires, "expires"))


OPTION_NAMES = frozenset(field.name for field in fields(SubmitOptions))


def _id_text(task: str | HasId) -> str:
    return task if isinstance(task, str) else task.id
