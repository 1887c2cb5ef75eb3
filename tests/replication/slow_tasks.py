"""Tasks for tests of failover: they note that they began, and end when a file says so."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tq import App

VARIABLE = "TQ_TEST_NOTES"
LOOK_SECONDS = 0.02

app = App()


@app.handler("slow")
async def slow(payload: bytes) -> bytes:
    notes = Path(os.environ[VARIABLE])
    with (notes / "began").open("ab") as file:
        file.write(payload + b"\n")
    while not (notes / "go").exists():  # noqa: ASYNC110  another process makes it
        await asyncio.sleep(LOOK_SECONDS)
    return payload
