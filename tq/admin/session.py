"""One run of a command: what every command was told, the connection, and how failures end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from tq import verbs
from tq.admin.values import usage_errors
from tq.errors import BrokerUnavailable, Outcome, OutcomeUnknown, TqError

if TYPE_CHECKING:
    import ssl

    from tq.client.sync import Client

EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_UNKNOWN = 0, 1, 2, 3, 4
EXIT_INTERRUPTED = 130

_Reply = TypeVar("_Reply", bound=verbs.Reply)

REACH_SECONDS = 3.0
"""How long to look for a broker before saying that there is none: a person is waiting."""


@dataclass(frozen=True)
class Options:
    """The options that every command has. watch_s: None = once. timeout_s: for one call."""

    addresses: str
    api_key: str
    format: str
    watch_s: float | None
    tls: bool
    tls_ca: str | None
    tls_insecure: bool
    tls_cert: str | None
    tls_key: str | None
    timeout_s: float


def options_of(context: typer.Context) -> Options:
    options = context.find_root().obj
    assert isinstance(options, Options)
    return options


@contextmanager
def connected(options: Options) -> Iterator[Client]:
    """A client that has found a broker. Raises BrokerUnavailable within REACH_SECONDS, AuthenticationFailed."""
    from tq.client.sync import Client

    with usage_errors():
        client = Client(
            options.addresses,
            api_key=options.api_key,
            timeout=options.timeout_s,
            tls=_tls(options),
            name="tq-admin",
            connect_timeout=REACH_SECONDS,
        )
    try:
        client.ping(call_timeout=REACH_SECONDS)
        yield client
    finally:
        client.close()


@contextmanager
def changing(options: Options) -> Iterator[Client]:
    """The same for a command that changes something: it is done once, and Ctrl-C leaves its outcome unknown."""
    refuse_watch(options)
    with connected(options) as client:
        try:
            yield client
        except KeyboardInterrupt as error:
            raise OutcomeUnknown("interrupted; it may have happened") from error


def refuse_watch(options: Options) -> None:
    """A command that changes something is done once."""
    if options.watch_s is not None:
        raise typer.BadParameter("--watch goes with commands that only look")


def ask(client: Client, request: verbs.Request, reply_type: type[_Reply]) -> _Reply:
    """One verb and the reply that belongs to it, for what the client has no method for."""
    reply = client.call(request)
    assert isinstance(reply, reply_type), reply  # the codec decodes by this very class
    return reply


def exit_code_of(error: TqError) -> int:
    """What a failure means to a script."""
    if error.outcome is Outcome.UNKNOWN:
        return EXIT_UNKNOWN
    return EXIT_UNREACHABLE if isinstance(error, BrokerUnavailable) else EXIT_REFUSED


def say(text: str) -> None:
    """A message for people: to stderr, so that results stay clean."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        # Nobody listens; the exit code still tells.
        return


def refuse(text: str) -> typer.Exit:
    """To be raised when the answer is no: the message is said, the exit code is 1."""
    say(f"tq-admin: {text}")
    return typer.Exit(EXIT_REFUSED)


def _tls(options: Options) -> ssl.SSLContext | bool:
    if not (options.tls or options.tls_insecure or options.tls_ca or options.tls_cert or options.tls_key):
        return False
    from tq.client.tls import client_context

    return client_context(
        options.tls_ca, insecure=options.tls_insecure, cert=options.tls_cert, key=options.tls_key
    )
