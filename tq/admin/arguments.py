"""The command line's words, made into what commands take, before any of them runs."""

from __future__ import annotations

from collections.abc import Sequence

WATCH_SECONDS = 2.0
"""What `--watch` without a number means."""

GLOBAL_VALUES = frozenset(
    {"--broker-addr", "--api-key", "--format", "--tls-ca", "--tls-cert", "--tls-key", "--timeout"}
)
GLOBAL_SWITCHES = frozenset({"--tls-insecure", "--tls"})
SWITCHES = frozenset({"--help", "--version", "--wait", "--force", "--yes", "--dry-run", "--observer"})
"""Options of commands that take no value; a test keeps this the truth."""


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The same words with the options that every command has moved to the front, where Typer wants them.

    People write `tq-admin stats --format json` as often as `tq-admin --format json stats`. The value of another
    option is left alone, even when it looks like one of these; so is everything after `--`.
    """
    front: list[str] = []
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, has_value, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
            break
        if name == "--watch":
            front.append(f"--watch={value if has_value else _number_taken(words)}")
        elif name in GLOBAL_SWITCHES:
            front.append(word)
        elif name in GLOBAL_VALUES:
            front += [word] if has_value or not words else [word, words.pop(0)]
        elif name.startswith("--") and not has_value and name not in SWITCHES and words:
            rest += [word, words.pop(0)]
        else:
            rest.append(word)
    return front + rest


def _number_taken(words: list[str]) -> str:
    """The next word when it is a number, taken; else what no number means."""
    try:
        float(words[0])
    except (IndexError, ValueError):
        return str(WATCH_SECONDS)
    return words.pop(0)
