"""The log of a cluster of one, as brokers drive it, in virtual time: for what happens between core, loop and disk."""

from __future__ import annotations

from asyncio import Future
from random import Random

from tests.sim.database import Image, SimDatabase
from tests.sim.disk import SimDisk, SimDiskThread
from tests.sim.loop import SimLoop
from tests.sim.reproductions.lone import TIMES, Copies
from tests.sim.world import World
from tq.broker.replication.journal import FAMILIES, Journal
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import Message
from tq.broker.replication.raft import Identity, RaftLog


class LoneLog:
    """told: entries said to be committed. fatal: what ended the process."""

    def __init__(self) -> None:
        self.world = World(1)
        self.loop = SimLoop(self.world, self._failed)  # type: ignore[abstract]
        self.disk = SimDisk(Random(1))
        database = SimDatabase("A", Image(tuple(family.name for family in FAMILIES)), self.disk)
        journal = Journal(database)  # type: ignore[arg-type]
        journal._load(may_be_new=True)
        self.told: list[bytes] = []
        self.fatal: list[BaseException] = []
        self.leads_at_start: bool | None = None
        self.log = RaftLog(
            Identity("A", Configuration.of({"A": "A:1"}, {})),
            journal,
            SimDiskThread(self.world, self.loop, self.disk, self._failed),
            self,
            Copies(),
            self._failed,
            clock=lambda: self.world.now,
            chance=Random(1).random,
            times=TIMES,
            address_of=str,
            on_role=lambda role, leader, term: None,
            on_lead=lambda leads: None,
            on_installed=lambda link: None,
        )
        self._starting = self.loop.create_task(self._start())
        self.world.run_until(1.0)

    async def _start(self) -> None:
        await self.log.start(0, self._committed)
        self.leads_at_start = self.log.is_leader

    def send(self, peer: str, message: Message) -> None:
        raise AssertionError("there is nobody to send to")

    def propose(self, data: bytes) -> Future[int]:
        futures: list[Future[int]] = []
        self.loop.enter(lambda: futures.append(self.log.propose(data)))
        self.world.run_until(self.world.now + 1.0)
        return futures[0]

    def _committed(self, index: int, data: bytes) -> None:
        if data == b"poison":
            raise ZeroDivisionError
        self.told.append(data)

    def _failed(self, error: BaseException) -> None:
        self.fatal.append(error)
