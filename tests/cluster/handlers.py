"""What the campaign's workers run: `tq-worker tests.cluster.handlers:app`."""

from __future__ import annotations

import asyncio
import os

from tests.cluster.register import VARIABLE
from tq import App, current

app = App()


@app.handler("fenced")
async def fenced(payload: bytes) -> bytes:
    """Work for as many milliseconds as the payload begins with, write to the register, and return the token.

    One that the register turned away returns its token all the same: it is the broker's part not to take it.
    """
    task = current()
    await asyncio.sleep(int(payload.split()[0]) / 1000)
    reader, writer = await asyncio.open_unix_connection(os.environ[VARIABLE])
    try:
        writer.write(f"{task.task_id} {task.token} {os.getpid()}\n".encode())
        await reader.readline()
    finally:
        writer.close()
    return b"%d" % task.token
