"""What a door answered, in words that all doors share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tq.errors import BY_CODE

Facts = Mapping[str, object]


class Said(NamedTuple):
    """code, outcome: of the error, empty when there was none. has_advice: it says when to try again."""

    code: str = ""
    outcome: str = ""
    has_advice: bool = False
    facts: Facts = {}  # noqa: RUF012  never written to


class Fields(NamedTuple):
    """One task to submit, in the words of REST. An id may be any text: doors send it as they would a real one."""

    task_id: str
    task_type: str = "t"
    queue: str = "default"
    payload: bytes = b""
    priority: int = 150
    timeout_seconds: float = 300
    max_retries: int = 3
    delay_seconds: float = 0
    dependencies: tuple[str, ...] = ()
    unique_key: str = ""
    unique_ttl: float = 0
    metadata: tuple[tuple[str, str], ...] = ()


def refused(code: str, *, has_advice: bool = False) -> Said:
    """The answer that an error of this code stands for."""
    return Said(code, str(BY_CODE[code].outcome), has_advice)
