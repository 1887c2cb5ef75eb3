"""Results on stdout: as a table for people, as JSON or YAML for programs, once or again and again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import typer

from tq.admin.layout import View
from tq.admin.session import EXIT_DONE, Options, connected, say
from tq.documents import Document
from tq.errors import BrokerUnavailable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from tq.client.sync import Client

FORMATS = ("table", "json", "yaml")
PIPE_COLUMNS = 10_000
"""Where nobody looks, no line is broken or cut."""


class Result(NamedTuple):
    """What a command found, for programs and for people. is_well: False makes the exit code 1."""

    document: Document
    view: View
    is_well: bool = True


def show(result: Result, options: Options) -> None:
    """Write one result."""
    if options.format == "json":
        _write(json.dumps(result.document, indent=2, ensure_ascii=False) + "\n")
    elif options.format == "yaml":
        _write(_yaml(result.document))
    else:
        _print(result)


def look(options: Options, find: Callable[[Client], Result]) -> Result:
    """Ask and show, or with --watch go on asking and showing until Ctrl-C. Returns the last result.

    On a terminal each result is painted over the one before; elsewhere each is one more document: JSON on one
    line, YAML after `---`, tables one after the other. A broker that goes away is waited for.
    """
    with connected(options) as client:
        if options.watch_s is None:
            result = find(client)
            show(result, options)
            return result
        if options.format == "table" and sys.stdout.isatty():
            return _repaint(client, find, options.watch_s)
        return _follow(client, find, options)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        # The reader had enough (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_DONE) from error


def _print(result: Result) -> None:
    console = _console()
    if console.is_terminal:
        console.print(_painted(result))
        return
    with console.capture() as capture:
        console.print(_painted(result))
    # Rich fills the last column; whoever reads a pipe does not want its blanks.
    _write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _painted(result: Result) -> RenderableType:
    # Rich takes as long to import as everything else; a program that reads JSON need not wait for it.
    from tq.admin.paint import painted

    return painted(result.view)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def _repaint(client: Client, find: Callable[[Client], Result], interval_s: float) -> Result:
    from rich.live import Live
    from rich.text import Text

    result = find(client)
    screen = Live(_painted(result), console=_console(), auto_refresh=False, screen=True)
    try:
        with screen:
            while not _pause(interval_s):
                try:
                    result = find(client)
                    screen.update(_painted(result), refresh=True)
                except BrokerUnavailable as error:
                    screen.update(Text(f"{error.text}\nwaiting for it ...", style="red"), refresh=True)
    except KeyboardInterrupt:
        _print(result)
    return result


def _follow(client: Client, find: Callable[[Client], Result], options: Options) -> Result:
    result = find(client)
    _show_in_series(result, options)
    assert options.watch_s is not None
    try:
        while not _pause(options.watch_s):
            try:
                result = find(client)
            except BrokerUnavailable as error:
                say(f"tq-admin: {error.text}; waiting for it")
                continue
            _show_in_series(result, options)
    except KeyboardInterrupt:
        return result
    return result


def _show_in_series(result: Result, options: Options) -> None:
    if options.format == "json":
        _write(json.dumps(result.document, ensure_ascii=False) + "\n")
        return
    if options.format == "yaml":
        _write("---\n")
    show(result, options)


def _pause(seconds: float) -> bool:
    """Wait; Ctrl-C ends it by KeyboardInterrupt. False, always: nobody sets the event."""
    return Event().wait(seconds)


def _yaml(document: Document) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=PIPE_COLUMNS)
