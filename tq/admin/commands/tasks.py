"""status, list, cancel, retry: what becomes of tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from tq import documents, ids, verbs
from tq.admin import tables, values
from tq.admin.layout import Facts
from tq.admin.screen import Result, look, show
from tq.admin.session import ask, changing, options_of
from tq.clock import SystemClock
from tq.task import RETRIES_MAX, TaskView

TaskId = Annotated[bytes, typer.Argument(metavar="ID", parser=values.task_id, help="A task's id, a UUID.")]


def status(context: typer.Context, task_id: TaskId) -> None:
    """Show one task: where it stands and why, its attempts, its payload and its result."""
    request = verbs.GetTask(task_id, with_payload=True)
    look(options_of(context), lambda client: _task(ask(client, request, TaskView)))


def list_tasks(
    context: typer.Context,
    status: Annotated[
        int | None,
        typer.Option(
            metavar="S", parser=values.status, help="pending, in_progress, completed, dead_letter, ..."
        ),
    ] = None,
    task_type: Annotated[
        str, typer.Option("--task-type", "--type", metavar="T", help="Only of this type.")
    ] = "",
    queue: Annotated[str, typer.Option(metavar="Q", help="Only of this queue.")] = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many.")] = 100,
    offset: Annotated[
        int, typer.Option(metavar="N", min=0, max=100_000, help="How many to leave out first.")
    ] = 0,
    cursor: Annotated[
        int, typer.Option(metavar="C", min=0, help="The page before said it; stays right while tasks move.")
    ] = 0,
) -> None:
    """List tasks, newest first."""
    request = verbs.ListTasks(status or 0, task_type, queue, limit, offset, cursor)
    look(options_of(context), lambda client: _page(ask(client, request, verbs.TaskPage)))


def cancel(
    context: typer.Context,
    task_id: TaskId,
    force: Annotated[
        bool, typer.Option("--force", help="A running task too: its worker is told to stop.")
    ] = False,
) -> None:
    """End a task that waits; with --force one that runs too."""
    options = options_of(context)
    with changing(options) as client:
        word = client.cancel_task(ids.to_text(task_id), force=force)
    show(_changed(task_id, word), options)


def retry(
    context: typer.Context,
    task_id: TaskId,
    max_retries: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=RETRIES_MAX, help="Retries from now on; else as before."),
    ] = None,
) -> None:
    """Put a dead-lettered or cancelled task back on its queue, its counters reset."""
    options = options_of(context)
    with changing(options) as client:
        word = client.retry_task(ids.to_text(task_id), max_retries=max_retries)
    show(_changed(task_id, word), options)


def _task(task: TaskView) -> Result:
    return Result(documents.of_task(task), tables.of_task(task, SystemClock().now_ms()))


def _page(page: verbs.TaskPage) -> Result:
    return Result(documents.of_page(page), tables.of_page(page, SystemClock().now_ms()))


def _changed(task_id: bytes, word: str) -> Result:
    name = ids.to_text(task_id)
    return Result(
        {"task_id": name, "status": word}, [Facts([("task", name), ("status", tables.status(word))])]
    )
