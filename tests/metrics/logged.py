"""Reading what was logged."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tq import logs

Line = dict[str, Any]


class Logged:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self, event: str | None = None) -> list[Line]:
        """All of an event, or simply all."""
        found = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in found if event in (None, line["event"])]


@contextmanager
def logged(level: str = "debug") -> Iterator[Logged]:
    kept = Logged()
    logs.configure(level, "json", kept.stream)
    yield kept
    logging.captureWarnings(False)
    logs.configure("warning", "text", sys.__stderr__)
    logging.captureWarnings(False)
