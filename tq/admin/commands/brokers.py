"""Commands about queues, workers, the broker and its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tq import documents
from tq.admin import tables
from tq.admin.layout import Facts
from tq.admin.screen import Result, look, show
from tq.admin.session import EXIT_REFUSED, Options, changing, options_of, refuse
from tq.clock import SystemClock
from tq.verbs import Cluster, Health, Stats, Workers

if TYPE_CHECKING:
    from tq.client.sync import Client

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")]


def pause(
    context: typer.Context,
    queue: Queue,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; shown to whoever asks why tasks wait.")
    ] = "",
) -> None:
    """Hand out nothing from a queue until it is resumed. Running tasks go on."""
    options = options_of(context)
    with changing(options) as client:
        client.pause_queue(queue, reason)
    show(_queue(queue, is_paused=True), options)


def resume(context: typer.Context, queue: Queue) -> None:
    """Hand out from a paused queue again."""
    options = options_of(context)
    with changing(options) as client:
        client.resume_queue(queue)
    show(_queue(queue, is_paused=False), options)


def workers(context: typer.Context) -> None:
    """Show the connected workers: what they serve, how busy they are, when they were last heard."""
    look(options_of(context), lambda client: _workers(Workers(client.workers())))


def stats(context: typer.Context) -> None:
    """Show counts and ages, in all and queue by queue."""
    look(options_of(context), lambda client: _stats(client.stats()))


def queue_depth(context: typer.Context) -> None:
    """Show waiting tasks as bars, by priority and by queue."""
    look(options_of(context), lambda client: _depths(client.stats()))


def health(context: typer.Context) -> None:
    """Say whether the broker is well; exit code 1 when it is not."""
    result = look(options_of(context), lambda client: _health(client.health()))
    if not result.is_well:
        raise typer.Exit(EXIT_REFUSED)


def cluster_status(context: typer.Context) -> None:
    """Show the members, who leads and who lags."""
    look(options_of(context), lambda client: _cluster(client.cluster()))


def transfer_leadership(
    context: typer.Context,
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Who is to lead; else the member that is furthest on.")
    ] = "",
) -> None:
    """Hand the lead of a cluster to another node."""
    _refuse_change(options_of(context), "hand over the lead")


def add_node(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The new node's id.")],
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where its peers reach it.")],
) -> None:
    """Take a node into a cluster."""
    _refuse_change(options_of(context), "add a node")


def remove_node(
    context: typer.Context, node: Annotated[str, typer.Argument(metavar="NODE", help="The node's id.")]
) -> None:
    """Take a node out of a cluster."""
    _refuse_change(options_of(context), "remove a node")


def _refuse_change(options: Options, what: str) -> None:
    """This release's brokers have no verbs that change a cluster; say which of the two reasons applies."""
    with changing(options) as client:
        _check_is_member(client)
    raise refuse(f"this release cannot {what}: its brokers do not change their members while they run")


def _check_is_member(client: Client) -> None:
    members = client.cluster().members
    if all(member.role == "standalone" for member in members):
        raise refuse("this broker is not part of a cluster")


def _queue(queue: str, *, is_paused: bool) -> Result:
    facts = Facts([("queue", queue), ("status", "paused" if is_paused else "running")])
    return Result({"queue": queue, "paused": is_paused}, [facts])


def _workers(reply: Workers) -> Result:
    return Result(documents.of_workers(reply), tables.of_workers(reply, SystemClock().now_ms()))


def _stats(reply: Stats) -> Result:
    return Result(documents.of_stats(reply), tables.of_stats(reply))


def _depths(reply: Stats) -> Result:
    return Result(documents.of_depths(reply), tables.of_depths(reply))


def _cluster(reply: Cluster) -> Result:
    return Result(documents.of_cluster(reply), tables.of_cluster(reply))


def _health(reply: Health) -> Result:
    return Result(documents.of_health(reply), tables.of_health(reply), is_well=reply.status == "healthy")
