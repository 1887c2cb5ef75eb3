"""What the machine itself gives: one message over TCP, written and synced on a thread, one answer, and nothing else.

A queue's figure for one task at a time says little without it: the round trip over the loopback, two wake-ups of
threads and an fdatasync cost more than most of what a broker does. `python -m benchmarks.floor FILE` is the server.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import cast

import uvloop

from benchmarks.harness import ROOT, SCRATCH

MESSAGE = bytes(250)
RECORD = bytes(300)
ANSWER = bytes(30)


def floor_rate(total: int) -> float:
    """Synced round trips a second, one after the other, between two processes."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    path = SCRATCH / "floor"
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floor", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        return uvloop.run(_round_trips(port, total))
    finally:
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
        path.unlink(missing_ok=True)


async def _round_trips(port: int, total: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = 0.0
    for number in range(total + total // 10):
        if number == total // 10:
            start = time.perf_counter()
        writer.write(MESSAGE)
        await reader.readexactly(len(ANSWER))
    rate = total / (time.perf_counter() - start)
    writer.close()
    await writer.wait_closed()
    return rate


class _Echo(asyncio.Protocol):
    def __init__(self, work: SimpleQueue[asyncio.Transport]) -> None:
        self._work = work

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._work.put(self._transport)


async def _serve(path: Path) -> None:
    loop = asyncio.get_running_loop()
    work: SimpleQueue[asyncio.Transport] = SimpleQueue()
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def sync_each() -> None:
        while True:
            transport = work.get()
            os.write(descriptor, RECORD)
            os.fdatasync(descriptor)
            loop.call_soon_threadsafe(transport.write, ANSWER)

    threading.Thread(target=sync_each, daemon=True).start()
    server = await loop.create_server(lambda: _Echo(work), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
