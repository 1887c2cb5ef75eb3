"""One run: a schedule in, a report out."""

from __future__ import annotations

from asyncio.events import _set_running_loop
from collections import Counter
from typing import NamedTuple

from tests.sim.checker import Checker
from tests.sim.cluster import Cluster
from tests.sim.consensus import Make
from tests.sim.history import OK
from tests.sim.invariants import Violation
from tests.sim.library import taken_over
from tests.sim.nemesis import Nemesis
from tests.sim.schedule import Schedule
from tests.sim.workload import Workload
from tests.sim.world import StormError, World

EPOCH_SECONDS = 1_000.0
"""The library takes a clock near zero for one that has not begun."""


class Report(NamedTuple):
    """violations: described, at most a few. kinds: all, counted. waits: of acknowledged submits, seconds."""

    schedule: Schedule
    violations: list[Violation]
    kinds: Counter[str]
    faults: Counter[str]
    coverage: Counter[str]
    counts: Counter[str]
    acknowledged: int
    terms: int
    seconds: float
    events: int
    waits: list[float]

    @property
    def has_failed(self) -> bool:
        return bool(self.kinds)


def run(schedule: Schedule, make: Make, *, to_first: bool = False) -> Report:
    """The same schedule gives the same report, to the last frame, in any process.

    to_first: stop at the first violation instead of going on to see what comes of it.
    """
    world = World(schedule.seed)
    clock = lambda: EPOCH_SECONDS + world.now  # noqa: E731
    with taken_over(clock, world.stream("library")), make.during(schedule.options):
        cluster = Cluster(world, make, schedule.options)
        workload = Workload(world, cluster.nodes, schedule.options, cluster.invariants)
        nemesis = Nemesis(cluster, workload)
        try:
            cluster.start()
            workload.start()
            nemesis.plan(schedule.faults)
            seen = cluster.invariants.kinds
            world.run_until(schedule.options.seconds, unless=lambda: to_first and bool(seen))
            if not (to_first and seen):
                Checker(cluster, workload).check()
        except StormError as error:
            cluster.invariants.violated("I15 storm", "", str(error))
        finally:
            cluster.close()
            _set_running_loop(None)
    invariants, history = cluster.invariants, workload.history
    return Report(
        schedule,
        invariants.violations,
        invariants.kinds,
        nemesis.done,
        invariants.coverage + cluster.network.counts,
        history.counts,
        len(history.ended(OK)),
        len(invariants.leaders),
        world.now,
        world.events,
        history.waits,
    )
