"""The handlers the measures run: `tq-worker benchmarks.handlers:app`."""

from __future__ import annotations

import struct
import time

from tq import App

app = App()


@app.handler("noop")
async def noop(payload: bytes) -> bytes:
    """Nothing, so that all of the time is tq's."""
    return b""


@app.handler("started")
async def started(payload: bytes) -> bytes:
    """When this ran: nanoseconds of the monotonic clock, which all processes of a machine share."""
    return struct.pack(">q", time.monotonic_ns())


@app.handler("started_wall")
async def started_wall(payload: bytes) -> bytes:
    """When this ran: nanoseconds of the wall clock, which schedules are told in."""
    return struct.pack(">q", time.time_ns())
