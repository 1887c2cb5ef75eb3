"""Clients and workers of one run."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.sim.clients import Clients
from tests.sim.history import History
from tests.sim.invariants import Invariants
from tests.sim.node import SimNode
from tests.sim.readers import Readers
from tests.sim.schedule import Options
from tests.sim.workers import Worker
from tests.sim.world import World

BEGIN_SECONDS = 1.5


class Workload:
    def __init__(
        self, world: World, nodes: Sequence[SimNode], options: Options, invariants: Invariants
    ) -> None:
        self._world = world
        self._nodes = nodes
        self.history = History()
        self.clients = Clients(world, nodes, self.history, options.rate)
        self._readers = Readers(world, nodes, self.history, invariants)
        self._workers: list[Worker] = []
        self._hired = 0
        self._count = options.workers

    def start(self) -> None:
        self._world.after(BEGIN_SECONDS, self.clients.start)
        self._readers.start()
        for _ in range(self._count):
            self._hire()

    def kill_worker(self, rng: Random) -> None:
        """One dies with all it holds; a new one takes its place."""
        worker = self._workers.pop(rng.randrange(len(self._workers)))
        worker.die()
        self._hire()

    def _hire(self) -> None:
        self._hired += 1
        worker = Worker(f"w{self._hired}", self._world, self._nodes, self.history)
        self._workers.append(worker)
        worker.start()
