"""The log that a simulated node's broker proposes to, over its core."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING

from tq.broker.replication.log import OnCommit
from tq.errors import TqError

if TYPE_CHECKING:
    from tests.sim.hardened import HardNode


class HardLog:
    """`replication.log.ReplicatedLog` over the core."""

    def __init__(self, owner: HardNode) -> None:
        self._owner = owner
        self.on_commit: OnCommit | None = None

    @property
    def first_index(self) -> int:
        return self._owner.journal.first_index

    @property
    def last_index(self) -> int:
        return self._owner.journal.last_index

    @property
    def is_leader(self) -> bool:
        return self._owner.is_leader

    async def start(self, after: int, on_commit: OnCommit) -> None:
        self.on_commit = on_commit
        self._owner.run(after)

    def propose(self, data: bytes) -> Future[int]:
        future: Future[int] = self._owner.around.loop.create_future()

        def done(result: int | TqError) -> None:
            if isinstance(result, TqError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._owner.ask(lambda core: core.propose(data, done))
        return future

    def release(self, upto: int) -> None:
        self._owner.ask(lambda core: core.release(upto))

    async def close(self) -> None:
        return None
