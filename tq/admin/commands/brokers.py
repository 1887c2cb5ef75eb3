"""Commands about queues, workers, the broker and its cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from tq import documents
from tq.admin import tables
from tq.admin.layout import Facts
from tq.admin.screen import Result, look, show
from tq.admin.session import EXIT_REFUSED, ask, changing, options_of
from tq.clock import SystemClock
from tq.verbs import AddNode, Cluster, Health, RemoveNode, Stats, TransferLeadership, Workers

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


def drain_worker(
    context: typer.Context,
    worker: Annotated[
        str, typer.Argument(metavar="ID", help="The worker's id, or one of its sessions' as UUID.")
    ],
) -> None:
    """Have a worker finish what it runs and go. It is handed nothing more; `workers` shows it draining till it is gone."""
    options = options_of(context)
    with changing(options) as client:
        sessions = client.drain_worker(worker)
    facts = Facts([("worker", worker), ("status", "draining"), ("sessions", ", ".join(sessions))])
    show(Result({"worker": worker, "sessions": list(sessions), "status": "draining"}, [facts]), options)


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
    _change(context, TransferLeadership(node))


def add_node(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The new node's id.")],
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where its peers reach it.")],
    observer: Annotated[
        bool, typer.Option("--observer", help="Keep it an observer: it holds a copy and does not vote.")
    ] = False,
) -> None:
    """Take a node into a cluster: it learns everything first, and then votes."""
    _change(context, AddNode(node, address, votes=not observer))


def remove_node(
    context: typer.Context, node: Annotated[str, typer.Argument(metavar="NODE", help="The node's id.")]
) -> None:
    """Take a node out of a cluster; a leader hands over first."""
    _change(context, RemoveNode(node))


def _change(context: typer.Context, request: AddNode | RemoveNode | TransferLeadership) -> None:
    """Ask for it and show the cluster as it is then."""
    options = options_of(context)
    with changing(options) as client:
        reply = ask(client, request, Cluster)
    show(_cluster(reply), options)


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
