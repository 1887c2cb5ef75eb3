"""The log port in memory: commits each entry on the next turn of the loop, and keeps nothing beyond the process.

For what stands on the port and needs no durability: tests, and `tq.testing`.
"""

from __future__ import annotations

import asyncio
from asyncio import Future

from tq.broker.replication.log import OnCommit
from tq.errors import OutcomeUnknown


class MemoryLog:
    """Serves `replication.log.ReplicatedLog`.

    fails_next: the next entry's fate is unknown. holds: entries wait for `let_go`.
    """

    def __init__(self, entries: list[bytes] | None = None) -> None:
        """entries: what the log holds already, from index 1."""
        self.entries = entries if entries is not None else []
        self.released = 0
        self.fails_next = False
        self.holds = False
        self._held: list[tuple[bytes, Future[int]]] = []
        self._on_commit: OnCommit = lambda index, data: None

    @property
    def first_index(self) -> int:
        return 1

    @property
    def last_index(self) -> int:
        return len(self.entries)

    @property
    def is_leader(self) -> bool:
        return True

    async def start(self, after: int, on_commit: OnCommit) -> None:
        self._on_commit = on_commit
        for index in range(after + 1, len(self.entries) + 1):
            on_commit(index, self.entries[index - 1])

    def propose(self, data: bytes) -> Future[int]:
        loop = asyncio.get_running_loop()
        future: Future[int] = loop.create_future()
        if self.holds:
            self._held.append((data, future))
        else:
            loop.call_soon(self._commit, data, future)
        return future

    def let_go(self) -> None:
        """Commit what was held back."""
        self.holds = False
        held, self._held = self._held, []
        for data, future in held:
            self._commit(data, future)

    def _commit(self, data: bytes, future: Future[int]) -> None:
        if self.fails_next:
            self.fails_next = False
            future.set_exception(OutcomeUnknown("the log went away"))
            return
        self.entries.append(data)
        self._on_commit(len(self.entries), data)
        future.set_result(len(self.entries))

    def release(self, upto: int) -> None:
        self.released = upto

    async def close(self) -> None:
        return None
