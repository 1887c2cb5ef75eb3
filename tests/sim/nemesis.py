"""Lets the faults of a schedule happen."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from tests.sim.cluster import Cluster
from tests.sim.node import SimNode
from tests.sim.schedule import LEADER, Fault
from tests.sim.workload import Workload

Ways = list[tuple[str, str]]

FLAPS = 6
WRITES_LEFT_MAX = 40
TORN_SHARE = 0.2
"""Of the losses of power, where one may be: it leaves a log whose end cannot be read."""
SLOW_FACTOR = 20.0
CLOCK_STEPS_MS = (-3_600_000, -60_000, 60_000, 3_600_000)


class Nemesis:
    """done: kind -> how often it happened (a fault whose victim is down already does not)."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self._cluster = cluster
        self._workload = workload
        self._world = cluster.world
        self._rng: Random = self._world.stream("nemesis")
        self.done: Counter[str] = Counter()

    def plan(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._world.at(fault.at, partial(self._happen, fault))

    def _happen(self, fault: Fault) -> None:
        node, peer = self._whom(fault)
        if getattr(self, f"_{fault.kind}")(node, peer, fault.seconds) is not False:
            self.done[fault.kind] += 1

    def _later(self, seconds: float, strike: Callable[[], None]) -> None:
        """The rest of a fault. It does not outlast the faults: what is healed stays so."""
        self._world.after(seconds, lambda: None if self._cluster.is_healed else strike())

    def _whom(self, fault: Fault) -> tuple[SimNode, SimNode]:
        nodes = self._cluster.nodes
        leader = self._cluster.leader
        position = fault.node
        if position == LEADER:
            position = nodes.index(leader) if leader is not None else fault.peer
        peer = fault.peer + 1 if fault.peer == position else fault.peer
        return nodes[position % len(nodes)], nodes[peer % len(nodes)]

    # ------------------------------------------------------------ processes

    def _kill(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        if node.process is None:
            return False
        node.kill()
        self._world.after(seconds, node.start)
        return True

    def _kill_all(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        for each in self._cluster.nodes:
            self._kill(each, peer, self._rng.uniform(0.1, 1.5))

    def _power(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        if node.process is None:
            return False
        may_tear = self._cluster.options.is_torn and self._cluster.may_lose(node)
        node.kill(power=True)
        if may_tear and self._rng.random() < TORN_SHARE:
            node.spoil("tear")
            self.done["torn"] += 1
        self._world.after(seconds, node.start)
        return True

    def _power_all(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        for each in self._cluster.nodes:
            self._power(each, peer, self._rng.uniform(0.1, 1.5))

    def _pause(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        node.pause(seconds)

    def _pause_kill(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        """What split NATS's brain: one stands still, another loses power, the first goes on, the rest stand still."""
        node.pause(seconds)
        self._power(peer, node, seconds)
        rest = [each for each in self._cluster.nodes if each not in (node, peer)]

        def turn() -> None:
            for each in rest:
                each.pause(seconds)

        self._later(seconds, turn)

    def _worker_death(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        self._workload.kill_worker(self._rng)

    # ------------------------------------------------------------ links

    def _cut(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        self._part(_both([(node.name, peer.name)]), seconds)

    def _cut_one_way(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        self._part([(node.name, peer.name)], seconds)

    def _isolate(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        self._part(_both((node.name, other) for other in self._cluster.names if other != node.name), seconds)

    def _halves(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        names = list(self._cluster.names)
        self._rng.shuffle(names)
        half = len(names) // 2
        self._part(_both((one, other) for one in names[:half] for other in names[half:]), seconds)

    def _ring(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        """Each node sees its neighbours only: every majority is another one."""
        names = self._cluster.names
        count = len(names)
        far = [
            (one, other)
            for i, one in enumerate(names)
            for k, other in enumerate(names)
            if i < k and (k - i) % count not in (1, count - 1)
        ]
        self._part(_both(far or [(names[0], names[-1])]), seconds)

    def _bridge(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        """Two halves that only one node can see both of."""
        rest = [name for name in self._cluster.names if name != node.name]
        half = len(rest) // 2
        self._part(_both((one, other) for one in rest[:half] for other in rest[half:]), seconds)

    def _reset(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        self._cluster.network.reset(node.name, peer.name)

    def _flap(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        ways = _both([(node.name, peer.name)])
        step = seconds / FLAPS
        for turn in range(FLAPS):
            self._later(turn * step, lambda: self._cluster.network.cut(ways, step / 2))
            self._later(turn * step, lambda: self._cluster.network.reset(node.name, peer.name))

    def _slow_link(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        self._cluster.network.slow(_both([(node.name, peer.name)]), seconds, SLOW_FACTOR)

    def _part(self, ways: Ways, seconds: float) -> None:
        """Cut, and half of the time the connections break too, as they do when one side gives up."""
        network = self._cluster.network
        network.cut(ways, seconds)
        for one, other in sorted({(min(way), max(way)) for way in ways}):
            if self._rng.random() < 0.5:
                self._later(seconds * self._rng.random(), partial(network.reset, one, other))

    # ------------------------------------------------------------ disks, clocks, operators

    def _slow_disk(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        node.disk.slow_until = self._world.now + seconds
        node.disk.slow_seconds = self._rng.choice((0.1, 0.5, 3.0))

    def _disk_full(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        """With one of the next writes, whatever is written then."""
        node.disk.writes_left = self._rng.randrange(WRITES_LEFT_MAX)
        self._world.after(seconds, node.disk.repair)

    def _fsync_error(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        node.disk.fails_next = OSError(errno.EIO, "simulated failure of fsync")

    def _lose_disk(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        if not self._cluster.may_lose(node):
            return False
        node.lose_disk()
        self._world.after(seconds, node.start)
        return True

    def _flip_bit(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        return self._spoil(node, "flip_bit", seconds)

    def _flip_snapshot(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        """In one that was made, or that is being received."""
        is_damaged: bool = node.drive.spoil("flip_snapshot", self._rng)
        return is_damaged

    def _lose_end(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        return self._spoil(node, "lose_end", seconds)

    def _spoil(self, node: SimNode, how: str, seconds: float) -> bool:
        if not self._cluster.may_lose(node):
            return False
        node.kill()
        self._world.after(seconds, node.start)
        return node.spoil(how)

    def _clock_step(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        node.clock.off_ms += self._rng.choice(CLOCK_STEPS_MS)

    def _compact(self, node: SimNode, peer: SimNode, seconds: float) -> None:
        node.ask(lambda raft: raft.compact())

    def _transfer(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        leader = self._cluster.leader
        if leader is None:
            return False
        target = peer if peer is not leader else node
        if target is leader:
            return False
        leader.ask(lambda raft: raft.transfer(target.name))
        return True

    def _remove_node(self, node: SimNode, peer: SimNode, seconds: float) -> bool:
        """Take a follower out, and in again later."""
        leader = self._cluster.leader
        if leader is None or leader is peer or any(each.is_forgetful for each in self._cluster.nodes):
            return False
        leader.ask(lambda raft: raft.remove(peer.name))
        self._world.after(seconds, lambda: self._cluster.take_in(peer))
        return True


def _both(ways: Iterable[tuple[str, str]]) -> Ways:
    """These directions and the opposite ones."""
    return [way for one, other in ways for way in ((one, other), (other, one))]
