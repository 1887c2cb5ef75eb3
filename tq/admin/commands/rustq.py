"""rustq adopt: take a queue of a rustq deployment over into a broker."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tq import ids, verbs
from tq.admin import words
from tq.admin.layout import Facts, Lines
from tq.admin.progress import progress
from tq.admin.screen import Result, show
from tq.admin.session import ask, changing, options_of, refuse, say
from tq.admin.values import usage_errors
from tq.clock import SystemClock
from tq.errors import TqError

if TYPE_CHECKING:
    from tq.client.rustq.adoption import Adoption
    from tq.client.sync import Client
    from tq.client.task import Task
    from tq.task import EndedTask


def adopt(
    context: typer.Context,
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The name that rustq's programs give it.")],
    redis_url: Annotated[
        str, typer.Option(envvar="TQ_RUSTQ_REDIS_URL", metavar="U", help="Where its job documents are.")
    ] = "redis://127.0.0.1:6379",
    amqp_url: Annotated[
        str, typer.Option(envvar="TQ_RUSTQ_AMQP_URL", metavar="U", help="Where its messages are.")
    ] = "amqp://guest:guest@127.0.0.1:5672/",
    types: Annotated[
        str,
        typer.Option(
            metavar="T,T",
            help="Job types of this queue, when the deployment has several queues: documents do not name theirs.",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count everything, change nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Although workers are still connected to the queue.")
    ] = False,
) -> None:
    """Make every job of a rustq queue a task of the broker, with its id, and take its messages away.

    Stop rustq's workers first. May be interrupted and run again: nothing is moved twice. Jobs that wait in a delay
    queue are moved with what is left of their delay; their messages arrive later, so run it once more after the
    longest delay.
    """
    options = options_of(context)
    with changing(options) as client:
        adoption = _adoption(client, queue, redis_url, amqp_url, types, is_dry=dry_run)
        try:
            import asyncio  # brings in the TLS library, which `--help` does without

            asyncio.run(_run(adoption, may_share=force or dry_run))
        except (TqError, KeyboardInterrupt):
            say(
                f"tq-admin: {words.number(adoption.counts['moved'])} jobs were moved before this; run it again"
            )
            raise
    _show(context, adoption)


def _adoption(
    client: Client, queue: str, redis_url: str, amqp_url: str, types: str, *, is_dry: bool
) -> Adoption:
    with usage_errors():
        try:
            from asyncio import to_thread

            from tq.client.rustq.adoption import Adoption
            from tq.client.rustq.amqp import Link
        except ImportError as error:
            raise refuse(f"{error}; adopting needs `pip install tq[rustq]`") from error
        from tq.client.rustq.names import names_of
        from tq.client.rustq.plugins import storage_of

        async def submit(tasks: Sequence[Task]) -> int:
            return await to_thread(_submit, client, tasks)

        async def bring_in(tasks: Sequence[EndedTask]) -> int:
            return await to_thread(_import, client, tasks)

        return Adoption(
            names=names_of(queue),
            storage=storage_of(redis_url),
            link=Link(amqp_url, "tq-admin rustq adopt", random.Random()),
            submit=submit,
            bring_in=bring_in,
            now_ms=SystemClock().now_ms(),
            job_types=tuple(filter(None, types.split(","))),
            is_dry=is_dry,
        )


async def _run(adoption: Adoption, *, may_share: bool) -> None:
    try:
        consumers = await adoption.consumers()
        if consumers and not may_share:
            raise refuse(
                f"{consumers} consumers are connected to {adoption.names.main!r}; stop them first, or add --force"
            )
        with progress("adopting", None) as advance:
            adoption.on_step = advance
            await adoption.run()
    finally:
        await adoption.link.close()
        await adoption.storage.close()


def _submit(client: Client, tasks: Sequence[Task]) -> int:
    from tq.client.batches import submits

    specs = [task.spec_with(ids.new_id()) for task in tasks]
    return sum(len(ask(client, request, verbs.Submitted).existing) for request in submits(specs))


def _import(client: Client, tasks: Sequence[EndedTask]) -> int:
    from tq.client.batches import imports

    return sum(ask(client, request, verbs.Changed).skipped for request in imports(tasks))


def _show(context: typer.Context, adoption: Adoption) -> None:
    from tq.client.rustq.adoption import COUNTS

    counts = {count.name: adoption.counts[count.name] for count in COUNTS}
    document = {"queue": adoption.names.main, "dry_run": adoption.is_dry, **counts}
    facts = [(count.name, f"{words.number(counts[count.name]):>8}  {count.meaning}") for count in COUNTS]
    heading = Lines("nothing was changed" if adoption.is_dry else "", "")
    parts = [Facts([("queue", adoption.names.main), *facts])]
    show(Result(document, [heading, *parts] if adoption.is_dry else parts), options_of(context))
