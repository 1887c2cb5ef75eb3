"""The world outside: a register that takes a write only with a token above the one it has for that task.

Handlers write to it before they return, as one would to a database that several workers might change. It listens at
a Unix socket, so that worker processes reach it whatever happens to the network of the brokers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster.history import History

VARIABLE = "CHAOS_REGISTER"
"""Environment variable with the socket's path, for handlers."""
WRITTEN, STALE = b"written\n", b"stale\n"


class Register:
    def __init__(self, history: History) -> None:
        self._history = history
        self.tokens: dict[str, int] = {}
        """task id as text -> the highest token that wrote"""
        self._workers: dict[tuple[str, int], str] = {}

    @asynccontextmanager
    async def open(self, path: Path) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, path)
        try:
            yield
        finally:
            server.close()

    def write(self, task_id: str, token: int, worker: str) -> bool:
        """Whether it was taken. A lease that two workers have is a violation."""
        counts = self._history.counts
        before = self.tokens.get(task_id, 0)
        first = self._workers.setdefault((task_id, token), worker)
        if first != worker:
            self._history.violated(f"the lease {token} of {task_id} was given to {first} and to {worker}")
        if token < before:
            counts["stale writes kept out"] += 1
            return False
        counts["register writes"] += 1
        counts["tasks run again under a newer token"] += token > before > 0
        counts["tasks run again under the same token"] += token == before
        self.tokens[task_id] = token
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                task_id, token, worker = line.decode().split()
                writer.write(WRITTEN if self.write(task_id, int(token), worker) else STALE)
        except (OSError, ValueError):
            pass  # the worker was killed in the middle of a line
        finally:
            writer.close()
