"""What bodies of requests look like. OpenAPI is made from these models, and every body is checked against them.

Reading is strict: the text "5" is no number, and a field that is not known here is an error rather than ignored,
because a misspelt `max_retires` that is ignored costs more than one that is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from tq.broker.api.rest.kinds import (
    NO_ID,
    AnyJson,
    Base64,
    Cursor,
    Delay,
    Factor,
    Fingerprint,
    Jitter,
    ManyLimit,
    Moment,
    Name,
    NameOrNone,
    NewId,
    Note,
    PriorityNumber,
    PurgeLimit,
    Retries,
    TaskId,
    TimeLimit,
    UniqueKey,
)
from tq.protocol.limits import CHANGE_TASKS_MAX
from tq.retry import CUSTOM_DELAYS_MAX, DEFAULT_RETRY
from tq.task import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT_MS,
    DEPENDENCIES_MAX,
)

BATCH_TASKS_MAX = 1_000
"""The contract's bound for one call; the wire allows ten times as many."""

Status: TypeAlias = Literal[
    "pending",
    "in_progress",
    "completed",
    "failed",
    "dead_letter",
    "scheduled",
    "blocked",
    "cancelled",
    "expired",
]
Strategy: TypeAlias = Literal["exponential", "fixed", "linear", "custom"]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _policy_rules(schema: dict[str, Any]) -> None:
    """As `_task_rules`."""
    properties = schema["properties"]
    properties["base_seconds"]["default"] = DEFAULT_RETRY.base_ms / 1000
    properties["factor"]["default"] = DEFAULT_RETRY.factor_permille / 1000
    properties["cap_seconds"]["default"] = DEFAULT_RETRY.cap_ms / 1000
    properties["jitter"]["default"] = DEFAULT_RETRY.jitter_permille / 1000
    others = [strategy for strategy in get_args(Strategy) if strategy != "custom"]
    schema["anyOf"] = [
        {"properties": {"strategy": {"enum": others}}},
        {"properties": {"delays_seconds": {"minItems": 1}}, "required": ["delays_seconds"]},
    ]


class RetryPolicyBody(_Body):
    """When a failed task runs again. The `custom` strategy takes its waits from `delays_seconds`."""

    model_config = ConfigDict(json_schema_extra=_policy_rules)

    strategy: Strategy = "exponential"
    base_seconds: Annotated[Delay, Field(description="The first wait.")] = DEFAULT_RETRY.base_ms
    factor: Annotated[Factor, Field(description="How much longer each wait is.")] = (
        DEFAULT_RETRY.factor_permille
    )
    cap_seconds: Annotated[Delay, Field(description="No wait is longer.")] = DEFAULT_RETRY.cap_ms
    jitter: Annotated[Jitter, Field(description="0.1 spreads a wait over 90 % to 110 % of itself.")] = (
        DEFAULT_RETRY.jitter_permille
    )
    delays_seconds: Annotated[list[Delay], Field(default_factory=list, max_length=CUSTOM_DELAYS_MAX)]


def _task_rules(schema: dict[str, Any]) -> None:
    """What the fields must be to each other, and defaults in the units of the interface instead of our own."""
    schema["not"] = {
        "anyOf": [
            {"required": ["payload", "payload_json"]},
            {"required": ["schedule_at", "delay_seconds"]},
        ]
    }
    schema["dependentRequired"] = {"unique_ttl": ["unique_key"]}
    properties = schema["properties"]
    for name in ("task_id", "schedule_at", "expires_at"):
        properties[name]["default"] = None
    properties["payload"]["default"] = ""
    properties["timeout_seconds"]["default"] = DEFAULT_TIMEOUT_MS // 1000
    schema["example"] = {
        "task_type": "send_email",
        "payload_json": {"to": "ada@example.org"},
        "queue": "mail",
        "priority": "high",
    }


class NewTask(_Body):
    """One task to submit."""

    model_config = ConfigDict(json_schema_extra=_task_rules)

    task_type: Annotated[Name, Field(description="What is to be done; workers name the types they serve.")]
    task_id: Annotated[
        NewId,
        Field(description="A UUID of the client's making, so that sending again is safe. None: one is made."),
    ] = NO_ID
    queue: Name = DEFAULT_QUEUE
    payload: Annotated[Base64, Field(description="Bytes as base64, at most 10 MiB of them.")] = b""
    payload_json: Annotated[
        AnyJson, Field(description="Any JSON value instead of payload; handlers get its UTF-8 text.")
    ] = None
    priority: Annotated[PriorityNumber, Field(description="0-255; higher runs first.")] = DEFAULT_PRIORITY
    schedule_at: Annotated[Moment, Field(description="Not handed out before. Without an offset: UTC.")] = 0
    delay_seconds: Annotated[Delay, Field(description="The same, counted from the broker's clock.")] = 0
    timeout_seconds: Annotated[TimeLimit, Field(description="The longest one attempt may run.")] = (
        DEFAULT_TIMEOUT_MS
    )
    max_retries: Retries = DEFAULT_MAX_RETRIES
    retry: RetryPolicyBody | None = None
    dependencies: Annotated[
        list[TaskId],
        Field(
            default_factory=list,
            max_length=DEPENDENCIES_MAX,
            description="Tasks that must complete first; they exist, or stand earlier in the batch.",
            json_schema_extra={"uniqueItems": True},
        ),
    ]
    expires_at: Annotated[Moment, Field(description="Not started by then, it ends as expired.")] = 0
    unique_key: Annotated[
        UniqueKey, Field(description="While a task with this key lives, submitting it again gives that task.")
    ] = ""
    unique_ttl: Annotated[
        Delay,
        Field(description="Seconds since the submit for which the key stays taken, even after the end."),
    ] = 0
    # Made anew each time: pydantic copies a default that can change, which takes it four times as long.
    metadata: Annotated[
        dict[str, str],
        Field(default_factory=dict, max_length=1_000, description="At most 64 KiB in all."),
    ]


class NewTasks(_Body):
    """Tasks to submit, all or none."""

    tasks: Annotated[list[NewTask], Field(max_length=BATCH_TASKS_MAX)]


class RetryBody(_Body):
    """How a task that ended is to be tried again. max_retries: none keeps the task's own."""

    max_retries: Retries | None = None


class PauseBody(_Body):
    """Why the queue is paused, for whoever wonders."""

    reason: Note = ""


class NewNode(_Body):
    """A node that a cluster is to take in."""

    node_id: Annotated[Name, Field(description="As its own configuration says.")]
    address: Annotated[Note, Field(min_length=1, description="Where its peers reach it, host:port.")]
    votes: Annotated[bool, Field(description="False: it stays an observer.")] = True


class TransferBody(_Body):
    node_id: Annotated[
        NameOrNone, Field(description="Who is to lead; empty: the voter that is furthest on.")
    ] = ""


class PurgeBody(_Body):
    """Which tasks are to be forgotten. Those that wait are cancelled first; running ones cannot be named."""

    status: Literal[
        "pending", "completed", "failed", "dead_letter", "scheduled", "blocked", "cancelled", "expired"
    ]
    older_than_seconds: Annotated[
        Delay, Field(description="Only those that nothing has happened to for so long.")
    ] = 0
    queue: NameOrNone = ""
    task_type: NameOrNone = ""
    limit: Annotated[PurgeLimit, Field(description="At most so many in one call.")] = 1_000


class TaskFilter(_Body):
    """Which tasks; what is left out does not matter. fingerprint: of a group of dead letters."""

    status: Status | None = None
    task_type: NameOrNone = ""
    queue: NameOrNone = ""
    fingerprint: Fingerprint = ""


def _many_rules(schema: dict[str, Any]) -> None:
    """Which tasks is said in exactly one way."""
    schema["oneOf"] = [
        {"required": ["task_ids"], "properties": {"task_ids": {"minItems": 1}, "filter": {"type": "null"}}},
        {"required": ["filter"], "properties": {"task_ids": {"maxItems": 0}, "filter": {"type": "object"}}},
    ]
    schema["example"] = {"filter": {"status": "dead_letter", "task_type": "send_email"}, "limit": 500}


class ManyBody(_Body):
    """One step of a change of many tasks: these, or the next `limit` of the filter after the cursor, newest first."""

    model_config = ConfigDict(json_schema_extra=_many_rules)

    task_ids: Annotated[list[TaskId], Field(default_factory=list, max_length=CHANGE_TASKS_MAX)]
    filter: TaskFilter | None = None
    limit: Annotated[ManyLimit, Field(description="At most so many in this step.")] = 500
    cursor: Annotated[Cursor | None, Field(description="The next_cursor of the step before.")] = None


class CancelManyBody(ManyBody):
    """Tasks to cancel."""

    force: Annotated[bool, Field(description="Those too that run.")] = False


class RetryManyBody(ManyBody):
    """Tasks to try again. max_retries: none keeps each task's own."""

    max_retries: Retries | None = None


class DeleteManyBody(ManyBody):
    """Ended tasks to forget."""
