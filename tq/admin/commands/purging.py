"""purge: forget tasks, after a look at how many and a question."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tq import verbs
from tq.admin import values, words
from tq.admin.layout import Facts
from tq.admin.progress import progress
from tq.admin.screen import Result, show
from tq.admin.session import ask, changing, options_of, refuse, say
from tq.errors import TqError
from tq.task import STATUS_OF_STATE

if TYPE_CHECKING:
    from tq.client.sync import Client

STEPS_MAX = 1_000_000
"""Requests one purge may take; each forgets up to a thousand tasks."""


def purge(
    context: typer.Context,
    status: Annotated[int, typer.Option(metavar="S", parser=values.status, help="Tasks of this status.")],
    older_than: Annotated[
        int,
        typer.Option(
            metavar="D", parser=values.duration_ms, help="Not changed for so long: 7d, 12h; 0 is all."
        ),
    ],
    queue: Annotated[str, typer.Option(metavar="Q", help="Only of this queue.")] = "",
    task_type: Annotated[
        str, typer.Option("--task-type", "--type", metavar="T", help="Only of this type.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget tasks for good; those that wait are cancelled first. Counts them and asks before it does."""
    options = options_of(context)
    request = verbs.Purge(status, older_than, queue, task_type)
    with changing(options) as client:
        count = ask(client, verbs.ListTasks(status, task_type, queue, limit=1), verbs.TaskPage).total
        if count and not yes:
            _confirm(_question(request, count))
        purged = _purge(client, request, count) if count else 0
    document = {"status": STATUS_OF_STATE[status], "purged": purged}
    show(
        Result(document, [Facts([("status", STATUS_OF_STATE[status]), ("purged", words.number(purged))])]),
        options,
    )


def _question(request: verbs.Purge, count: int) -> str:
    tasks = f"{words.number(count)} {STATUS_OF_STATE[request.state]} task{'s' if count != 1 else ''}"
    where = f" of queue {request.queue!r}" if request.queue else ""
    kind = f" of type {request.task_type!r}" if request.task_type else ""
    if not request.older_than_ms:
        return f"This forgets {tasks}{where}{kind}, for good. Go on?"
    since = words.duration(request.older_than_ms)
    return f"Of {tasks}{where}{kind}, this forgets those not changed for {since}, for good. Go on?"


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        say(question)
        raise typer.BadParameter("nobody is there to ask; add --yes")
    if not typer.confirm(question, err=True):
        raise refuse("nothing was purged")


def _purge(client: Client, request: verbs.Purge, count: int) -> int:
    """Step by step; what was purged before a failure is said."""
    purged = 0
    with progress("purging", count) as advance:
        for _ in range(STEPS_MAX):
            try:
                step = ask(client, request, verbs.Purged)
            except (TqError, KeyboardInterrupt):
                say(f"tq-admin: {words.number(purged)} tasks were purged before this")
                raise
            purged += step.purged
            advance(step.purged)
            if not step.more:
                break
    return purged
