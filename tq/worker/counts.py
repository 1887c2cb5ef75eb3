"""The numbers of one worker at one moment."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """What a worker did and does.

    slots: its concurrency. abandoned: handlers given up that still hold a thread or a loop. unsettled: endings the
    broker has not answered for. connected: 1 while registered.
    """

    slots: int
    running: int
    abandoned: int
    settled: int
    lost: int
    unsettled: int
    reconnects: int
    connected: int
