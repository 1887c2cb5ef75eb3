"""Counters and the depth warning."""

from __future__ import annotations

import json
from io import StringIO

from tq import logs
from tq.broker.observe import DEPTH_CALM, DEPTH_WARNING, Observer


def test_a_deep_queue_is_warned_of_once_until_it_has_calmed_down() -> None:
    out = StringIO()
    logs.configure("warning", "json", out)
    observer = Observer()

    for depth in (DEPTH_WARNING, DEPTH_WARNING + 1, DEPTH_WARNING + 2, DEPTH_CALM, DEPTH_WARNING + 3):
        observer.watch_depth(depth)
    assert _depths(out) == [DEPTH_WARNING + 1]

    for depth in (DEPTH_CALM - 1, DEPTH_WARNING + 4):
        observer.watch_depth(depth)
    assert _depths(out) == [DEPTH_WARNING + 1, DEPTH_WARNING + 4]


def _depths(out: StringIO) -> list[int]:
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    return [line["depth"] for line in lines if line["event"] == "depth_high"]
