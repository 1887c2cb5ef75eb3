"""hash-key: the bcrypt hash that the broker's configuration keeps instead of a key."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tq.admin.layout import Lines
from tq.admin.screen import Result, show
from tq.admin.session import options_of, refuse_watch

KEY_BYTES_MAX = 72
"""bcrypt ignores what comes after."""
COST = 12
"""About a quarter of a second per check: dear to guess, cheap enough for a hello."""


def hash_key(
    context: typer.Context,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY]", help="The key. Better left out: then it is asked for, or read from stdin."
        ),
    ] = None,
    cost: Annotated[int, typer.Option(metavar="N", min=4, max=16, help="One more doubles the work.")] = COST,
) -> None:
    """Make the bcrypt hash of an API key, for `auth.api_keys` in the broker's configuration.

    The key is never shown.
    """
    options = options_of(context)
    refuse_watch(options)
    content = _key(key)
    import bcrypt

    text = bcrypt.hashpw(content, bcrypt.gensalt(cost)).decode()
    show(Result({"key_hash": text}, [Lines(text)]), options)


def _key(given: str | None) -> bytes:
    if given is None:
        given = _asked() if sys.stdin.isatty() else sys.stdin.readline(KEY_BYTES_MAX * 8).rstrip("\r\n")
    content = given.encode(errors="surrogateescape")
    if not content:
        raise typer.BadParameter("the key is empty")
    if len(content) > KEY_BYTES_MAX:
        raise typer.BadParameter(
            f"the key has {len(content)} bytes; bcrypt looks at the first {KEY_BYTES_MAX} only"
        )
    if not (given.isascii() and given.isprintable()) or " " in given:
        raise typer.BadParameter("a key is letters, digits and signs without spaces: it travels in a header")
    return content


def _asked() -> str:
    return str(typer.prompt("Key", hide_input=True, confirmation_prompt=True, err=True))
