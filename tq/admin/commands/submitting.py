"""submit: one task from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tq import documents, ids, verbs
from tq.admin import tables, values
from tq.admin.layout import Facts
from tq.admin.screen import Result, show
from tq.admin.session import EXIT_INTERRUPTED, Options, ask, changing, options_of, refuse, say
from tq.clock import SystemClock
from tq.errors import OutcomeUnknown, TqError
from tq.task import (
    COMPLETED,
    DEFAULT_MAX_RETRIES,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT_MS,
    RETRIES_MAX,
    STATUS_OF_STATE,
    TIMEOUT_MS_MAX,
    TaskSpec,
)

if TYPE_CHECKING:
    from tq.client.sync import Client


def submit(
    context: typer.Context,
    task_type: Annotated[
        str, typer.Option("--type", "--task-type", metavar="T", help="What kind of task it is.")
    ],
    source: Annotated[str | None, typer.Argument(metavar="-", help="- reads the payload from stdin.")] = None,
    payload: Annotated[str | None, typer.Option(metavar="TEXT", help="The payload as text.")] = None,
    payload_file: Annotated[
        str | None, typer.Option(metavar="F", help="A file with the payload; - is stdin.")
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            metavar="P", parser=values.priority, help="0-255, higher first; or high, normal (150), low."
        ),
    ] = None,
    queue: Annotated[str, typer.Option(metavar="Q", help="The queue to put it on.")] = DEFAULT_QUEUE,
    schedule_at: Annotated[
        str | None, typer.Option(metavar="T", help="Not before: an ISO 8601 time, or a delay such as +5m.")
    ] = None,
    timeout_seconds: Annotated[
        float,
        typer.Option(
            metavar="N", min=0.001, max=TIMEOUT_MS_MAX / 1000, help="Longest run time of an attempt."
        ),
    ] = DEFAULT_TIMEOUT_MS / 1000,
    max_retries: Annotated[
        int, typer.Option(metavar="N", min=0, max=RETRIES_MAX, help="It runs at most once more than that.")
    ] = DEFAULT_MAX_RETRIES,
    task_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="An id of your own; submitting it again is the same task."),
    ] = None,
    unique_key: Annotated[
        str, typer.Option(metavar="KEY", help="While a task with this key lives, it is that task.")
    ] = "",
    depends_on: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only after this task has completed; may be repeated."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end; exit code 1 unless it completed.")
    ] = False,
) -> None:
    """Put a task on a queue and print its id once the broker has it on disk."""
    from tq.client.task import task_spec

    options = options_of(context)
    start_at, delay = values.start(schedule_at) if schedule_at else (None, None)
    content = values.payload(text=payload, file=payload_file, source=source)
    with values.usage_errors():
        spec = task_spec(
            task_type,
            content,
            DEFAULT_PRIORITY if priority is None else priority,
            task_id=ids.from_text(task_id) if task_id else ids.new_id(),
            queue=queue,
            schedule_at=start_at,
            delay=delay,
            timeout=timeout_seconds,
            max_retries=max_retries,
            retry=None,
            dependencies=depends_on or (),
            expires_at=None,
            unique_key=unique_key,
            unique_ttl=None,
            metadata={},
        )
    with changing(options) as client:
        task_id = _submit(client, spec, options, is_shown=not wait)
        if wait:
            _wait(client, task_id, options)


def _submit(client: Client, spec: TaskSpec, options: Options, *, is_shown: bool) -> str:
    """Submit it and return its id, or that of the task that exists."""
    name = ids.to_text(spec.task_id)
    try:
        submitted = ask(client, verbs.Submit((spec,)), verbs.Submitted)
    except (OutcomeUnknown, KeyboardInterrupt) as error:
        # With its id a second try is safe; without it, it could become a second task.
        text = error.text if isinstance(error, TqError) else "interrupted"
        raise OutcomeUnknown(f"{text}; submit again with --task-id {name}, which is safe") from error
    task_id, created_ms, state = spec.task_id, submitted.created_ms, submitted.states[0]
    if submitted.existing:
        task_id, created_ms = submitted.existing[0].task_id, submitted.existing[0].created_ms
        name = ids.to_text(task_id)
        say(f"tq-admin: task {name} exists already")
    if is_shown:
        facts = Facts([("task", name), ("status", tables.status(STATUS_OF_STATE[state]))])
        show(Result(documents.of_submitted(task_id, state, created_ms), [facts]), options)
    return name


def _wait(client: Client, task_id: str, options: Options) -> None:
    say(f"tq-admin: waiting for task {task_id}")
    try:
        (task,) = client.wait_for_tasks([task_id])
    except KeyboardInterrupt as error:
        say(f"tq-admin: interrupted; task {task_id} goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    show(Result(documents.of_task(task.view), tables.of_task(task.view, SystemClock().now_ms())), options)
    if task.view.state != COMPLETED:
        raise refuse(f"task {task_id} is {task.status}")
