"""What must hold when everything is healed and quiet.

I9   every submit ended.                                  I12  each task ended, once; the machine's own invariants.
I10  what was acknowledged exists, on every node.         I13  of one task one settle counted.
I11  what was refused exists nowhere.                     I16  a leader soon, equal states soon, probes commit.
I3   equal digests.
"""

from __future__ import annotations

from tests.sim.cluster import Cluster
from tests.sim.history import FAILED, OK
from tests.sim.invariants import Violation
from tests.sim.node import SimNode
from tests.sim.workload import Workload
from tq.broker.machine.heads import EndedRecord

LEADER_SECONDS = 4.0
"""Three of the longest election time-outs, and the redial."""
LEADER_MESSAGES = 12
"""In three elections, one after another: each has a question, a vote, and their answers. On links of a cluster that was
set up well they take no time beside the time-outs; some schedules' links are slower than that."""
EQUAL_SECONDS = 12.0
STUCK_SECONDS = 10.0
"""Longer than any lease lives without its worker, and any retry waits."""
STEP_SECONDS = 0.2
PROBES = 3


class Checker:
    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._workload = workload
        self._history = workload.history
        self._violated = cluster.invariants.violated

    def check(self) -> list[Violation]:
        """Heal, wait until it is quiet, and look. What is wrong is told to the invariants; returns all of it."""
        self._cluster.heal()
        leader_s = LEADER_SECONDS + LEADER_MESSAGES * self._cluster.options.latency[1]
        if not self._wait(lambda: self._cluster.leader is not None, leader_s):
            self._violated("I16 no leader", "", f"{leader_s:.2f} s after everything was healed")
        self._probe()
        self._workload.clients.is_stopped = True
        is_drained = self._drain()
        if not self._wait(self._are_equal, EQUAL_SECONDS):
            self._violated("I16 nodes differ", "", self._standing())
        elif not is_drained:
            self._violated("I16 work is left", "", f"{self._live()} tasks, none ended in {STUCK_SECONDS} s")
        self._look_at_tasks()
        for node in self._cluster.nodes:
            if node.broker is not None:
                node.broker.machine.check()
        return self._cluster.invariants.violations

    def _wait(self, holds: object, seconds: float) -> bool:
        assert callable(holds)
        end = self._world.now + seconds
        while not holds():
            if self._world.now >= end:
                return False
            self._world.run_until(min(end, self._world.now + STEP_SECONDS))
        return True

    def _probe(self) -> None:
        """New work is taken again."""
        end = self._world.now + EQUAL_SECONDS
        probes: list[bytes] = []
        while self._world.now < end:
            probes += self._workload.clients.submit(1)
            self._world.run_until(self._world.now + STEP_SECONDS)
            if sum(self._history.submits[task_id].outcome == OK for task_id in probes) >= PROBES:
                return
        self._violated("I16 not live", "", f"{len(probes)} probes in {EQUAL_SECONDS} s after healing")

    def _drain(self) -> bool:
        """Until no task lives; False when for so long none has ended."""
        left, since = self._live(), self._world.now
        while left != 0 and self._world.now - since < STUCK_SECONDS:
            self._world.run_until(self._world.now + STEP_SECONDS)
            before, left = left, self._live()
            if left != before:
                since = self._world.now
        return left == 0

    def _live(self) -> int:
        leader = self._cluster.leader
        return (
            len(leader.broker.machine.state.heads) if leader is not None and leader.broker is not None else -1
        )

    def _are_equal(self) -> bool:
        running = [node.broker for node in self._cluster.nodes if node.broker is not None]
        if len(running) < len(self._cluster.nodes) or len({one.applied_index for one in running}) > 1:
            return False
        return len({one.machine.digest() for one in running}) == 1

    def _standing(self) -> str:
        return ", ".join(
            f"{node.name}: {node.broker.applied_index}" if node.broker is not None else f"{node.name}: down"
            for node in self._cluster.nodes
        )

    def _look_at_tasks(self) -> None:
        submits = self._history.submits
        acknowledged, refused = self._history.ended(OK), self._history.ended(FAILED)
        for node in self._cluster.nodes:
            if node.broker is None:
                continue
            found = {task_id: node.broker.find(task_id) for task_id in submits}
            lost = [task_id for task_id in acknowledged if found[task_id] is None]
            if lost:
                self._violated("I10 acknowledged lost", node.name, f"{len(lost)} of {len(acknowledged)}")
            risen = [task_id for task_id in refused if found[task_id] is not None]
            if risen:
                self._violated("I11 refused and there", node.name, f"{len(risen)} of {len(refused)}")
            self._look_at_ends(node, found)
        twice = [task_id for task_id, tokens in self._history.done.items() if len(set(tokens)) > 1]
        if twice:
            self._violated("I13 settled twice", "", f"{len(twice)} tasks were completed under two tokens")

    def _look_at_ends(self, node: SimNode, found: dict[bytes, int | EndedRecord | None]) -> None:
        assert node.broker is not None
        twice = [task_id for task_id, count in node.broker.ended.items() if count > 1]
        if twice:
            self._violated("I12 ended twice", node.name, f"{len(twice)} tasks")
        done = self._history.done
        undone = [task_id for task_id in done if not isinstance(found.get(task_id), EndedRecord)]
        if undone:
            self._violated("I12 end forgotten", node.name, f"{len(undone)} tasks that were settled")
