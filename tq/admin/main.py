"""The program `tq-admin`: its commands, the options they share, and how it ends.

Everything that is slow to import (Rich, the client, YAML) is imported where it is used: `--help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NamedTuple

import typer

from tq.admin.arguments import hoisted
from tq.admin.commands import brokers, disks, keys, purging, rustq, stackduck, submitting, tasks
from tq.admin.screen import FORMATS
from tq.admin.session import EXIT_DONE, Options, exit_code_of, say
from tq.errors import TqError
from tq.version import VERSION

INTERVAL_SECONDS_MIN = 0.1
"""A watch that asks more often is a load, not a look."""

HELP = """Look after a tq broker: submit and inspect tasks, watch queues and workers, make backups.

Options may stand before or after the command. Each has a twin in the environment: TQ_BROKER_ADDR, TQ_API_KEY,
TQ_FORMAT, TQ_TLS, TQ_TLS_CA, TQ_TLS_INSECURE, TQ_TLS_CERT, TQ_TLS_KEY, TQ_TIMEOUT.

Exit codes: 0 done, 1 the broker said no, 2 usage, 3 cannot reach a broker, 4 outcome unknown.
"""


class Command(NamedTuple):
    """One command. summary: its line in the list of commands, which Typer cuts at 50 characters."""

    function: Callable[..., None]
    summary: str
    examples: tuple[str, ...]


COMMANDS = {
    "submit": Command(
        submitting.submit,
        "Put a task on a queue.",
        (
            "tq-admin submit --type echo --payload hello --wait",
            "tq-admin submit --type resize --payload-file a.png --priority high",
            "generate | tq-admin submit --type import - --schedule-at +5m",
        ),
    ),
    "status": Command(tasks.status, "Show one task in full.", ("tq-admin status ID --format json",)),
    "list": Command(
        tasks.list_tasks, "List tasks, newest first.", ("tq-admin list --status dead_letter --limit 20",)
    ),
    "cancel": Command(tasks.cancel, "End a task before it has run.", ("tq-admin cancel ID --force",)),
    "retry": Command(tasks.retry, "Run a dead-lettered task again.", ("tq-admin retry ID --max-retries 5",)),
    "purge": Command(
        purging.purge, "Forget old tasks for good.", ("tq-admin purge --status completed --older-than 7d",)
    ),
    "stats": Command(brokers.stats, "Show counts and ages.", ("tq-admin stats --watch 5",)),
    "queue-depth": Command(
        brokers.queue_depth, "Show waiting tasks as bars.", ("tq-admin queue-depth --watch",)
    ),
    "workers": Command(brokers.workers, "Show the connected workers.", ("tq-admin workers --format yaml",)),
    "health": Command(brokers.health, "Say whether the broker is well.", ("tq-admin health || alert",)),
    "pause": Command(
        brokers.pause, "Hand out nothing from a queue.", ('tq-admin pause mail --reason "upgrade"',)
    ),
    "resume": Command(brokers.resume, "Hand out from a queue again.", ("tq-admin resume mail",)),
    "drain-worker": Command(
        brokers.drain_worker, "Have a worker finish and go.", ("tq-admin drain-worker host-4711",)
    ),
    "cluster-status": Command(
        brokers.cluster_status, "Show the members and who leads.", ("tq-admin cluster-status",)
    ),
    "transfer-leadership": Command(
        brokers.transfer_leadership, "Let another node lead.", ("tq-admin transfer-leadership node2",)
    ),
    "add-node": Command(
        brokers.add_node, "Take a node into a cluster.", ("tq-admin add-node node4 host4:7379",)
    ),
    "remove-node": Command(
        brokers.remove_node, "Take a node out of a cluster.", ("tq-admin remove-node node4",)
    ),
    "backup": Command(
        disks.backup, "Copy all tasks while the broker works.", ("tq-admin backup /var/backups/tq/monday",)
    ),
    "restore": Command(
        disks.restore,
        "Make a data directory from a backup.",
        ("tq-admin restore /var/backups/tq/monday --data-dir /var/lib/tq",),
    ),
    "verify": Command(
        disks.verify,
        "Look for damage in a backup or data.",
        ("tq-admin verify /var/backups/tq/monday", "tq-admin verify /var/lib/tq"),
    ),
    "hash-key": Command(keys.hash_key, "Make the hash of an API key.", ("tq-admin hash-key",)),
}
GROUPS = {
    "rustq": (
        "Take over queues of rustq.",
        {
            "adopt": Command(
                rustq.adopt,
                "Move a queue's jobs into the broker.",
                (
                    "tq-admin rustq adopt mail --dry-run",
                    "tq-admin rustq adopt mail --redis-url redis://cache:6379 --amqp-url amqp://rabbit:5672",
                ),
            )
        },
    ),
    "stackduck": (
        "Take over StackDuck, or look for what is wrong in it.",
        {
            "adopt": Command(
                stackduck.adopt,
                "Move a deployment's jobs into the broker.",
                (
                    "tq-admin stackduck adopt --redis-url redis://cache:6379 --database-url postgres://u@db/duck --dry-run",
                ),
            ),
            "check": Command(
                stackduck.check,
                "Compare Redis with PostgreSQL.",
                (
                    "tq-admin stackduck check --redis-url redis://cache:6379 --database-url postgres://u@db/duck",
                ),
            ),
        },
    ),
}
"""name -> (summary, commands): those that are two words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    words = hoisted(sys.argv[1:] if arguments is None else arguments)
    try:
        make_app()(args=words, prog_name="tq-admin")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_DONE
    except TqError as error:
        say(f"tq-admin: {error.text} ({error.code})")
        return exit_code_of(error)
    return EXIT_DONE


def make_app() -> typer.Typer:
    """The command line as Typer knows it."""
    app = typer.Typer(
        help=HELP,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Plain help: Rich's panels take 100 ms more, and break what a usage error says over lines.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(shared)
    _add(app, COMMANDS)
    for group, (summary, commands) in GROUPS.items():
        inner = typer.Typer(help=summary, no_args_is_help=True, rich_markup_mode=None)
        inner.callback()(_of_a_group)
        _add(inner, commands)
        app.add_typer(inner, name=group)
    return app


def _of_a_group() -> None:
    """With it Typer keeps the second word of a group that has one command only."""


def _add(app: typer.Typer, commands: Mapping[str, Command]) -> None:
    for name, command in commands.items():
        examples = "\n".join(f"  {example}" for example in command.examples)
        # \b keeps the lines as they are; without it the help would fill them up.
        epilog = f"\b\nExamples:\n{examples}\n\nOptions of every command: tq-admin --help"
        app.command(name, short_help=command.summary, epilog=epilog)(command.function)


def _say_version(asked: bool) -> None:
    """Say which release this is, and exit."""
    if asked:
        sys.stdout.write(f"tq-admin {VERSION}\n")
        raise typer.Exit(EXIT_DONE)


def shared(
    context: typer.Context,
    broker_addr: Annotated[
        str, typer.Option(envvar="TQ_BROKER_ADDR", metavar="A", help="host:port, several with commas.")
    ] = "127.0.0.1:6379",
    api_key: Annotated[
        str,
        typer.Option(
            envvar="TQ_API_KEY",
            metavar="K",
            help="Key; better in the variable than here.",
            show_default=False,
        ),
    ] = "",
    format: Annotated[
        str, typer.Option(envvar="TQ_FORMAT", metavar="F", help="table, json or yaml.")
    ] = "table",
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="[S]", min=INTERVAL_SECONDS_MIN, help="Again every S seconds (2), until Ctrl-C."
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", envvar="TQ_TLS", help="Connect with TLS.")] = False,
    tls_ca: Annotated[
        str | None,
        typer.Option(
            envvar="TQ_TLS_CA", metavar="F", help="PEM file of the authority to trust; turns TLS on."
        ),
    ] = None,
    tls_insecure: Annotated[
        bool,
        typer.Option("--tls-insecure", envvar="TQ_TLS_INSECURE", help="TLS without checking who answers."),
    ] = False,
    tls_cert: Annotated[
        str | None,
        typer.Option(
            envvar="TQ_TLS_CERT",
            metavar="F",
            help="PEM file with the certificate to show a broker that asks for one; turns TLS on.",
        ),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(
            envvar="TQ_TLS_KEY", metavar="F", help="PEM file with its key, when it is not in the same."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            envvar="TQ_TIMEOUT", metavar="S", min=0.1, help="How long one call may take, in seconds."
        ),
    ] = 30.0,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Say which release this is."),
    ] = False,
) -> None:
    if format not in FORMATS:
        raise typer.BadParameter(f"--format {format!r} is not one of {', '.join(FORMATS)}")
    context.obj = Options(
        addresses=broker_addr,
        api_key=api_key,
        format=format,
        watch_s=watch,
        tls=tls,
        tls_ca=tls_ca,
        tls_insecure=tls_insecure,
        tls_cert=tls_cert,
        tls_key=tls_key,
        timeout_s=timeout,
    )


if __name__ == "__main__":
    sys.exit(main())
