"""An App as a user would write it, for tests with real processes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
from pathlib import Path

from tq.worker.app import App
from tq.worker.context import current

app = App()


@app.task(max_retries=0)
async def greet(name: str, *, loud: bool = False) -> str:
    await asyncio.sleep(0)
    return f"HELLO {name.upper()}" if loud else f"hello {name}"


@app.task(max_retries=0)
def add(a: int, b: int) -> int:
    return a + b


@app.task(kind="process", max_retries=0)
def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@app.task(max_retries=0)
def explode() -> None:
    raise ValueError("bang")


@app.task(max_retries=0)
async def wait_long() -> None:
    current().progress(0.5, "waiting")
    await asyncio.sleep(3600)


@app.task(max_retries=0)
def block_long() -> None:
    select.select([], [], [], 3600)


@app.task(kind="process", max_retries=0)
def tell_pid_and_block(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    select.select([], [], [], 3600)
