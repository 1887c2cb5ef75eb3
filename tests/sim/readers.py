"""Readers: they ask a leader for an index to read at, and look whether what was acknowledged before is there (I14)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim.history import History
from tests.sim.invariants import Invariants
from tests.sim.node import SimNode
from tests.sim.world import World
from tq.broker.machine.heads import EndedRecord
from tq.errors import TqError

READ_SECONDS = (0.1, 0.6)
LATEST = 40
"""Of the tasks acknowledged before a read the latest so many are looked for: those a stale node would miss."""


class Readers:
    def __init__(
        self, world: World, nodes: Sequence[SimNode], history: History, invariants: Invariants
    ) -> None:
        self._world = world
        self._nodes = nodes
        self._history = history
        self._invariants = invariants
        self._rng = world.stream("readers")

    def start(self) -> None:
        self._world.after(self._rng.uniform(*READ_SECONDS), self._read)

    def _read(self) -> None:
        self.start()
        leading = [node for node in self._nodes if node.is_leading]
        if not leading:
            return
        node = self._rng.choice(leading)
        process = node.process
        acknowledged = self._history.acknowledged[-LATEST:]
        settled = [task_id for task_id in acknowledged if task_id in self._history.done]

        def done(result: int | TqError) -> None:
            if isinstance(result, TqError) or process is None or process.broker is None:
                return
            self._history.counts["reads"] += 1
            missing = [task_id for task_id in acknowledged if process.broker.find(task_id) is None]
            running = [
                task_id for task_id in settled if not isinstance(process.broker.find(task_id), EndedRecord)
            ]
            if missing or running:
                text = f"a read at {result} misses {len(missing)} submits and {len(running)} settles"
                self._invariants.violated("I14 stale read", node.name, text)

        node.ask(lambda raft: raft.read_index(done))
