"""The nodes, the network between them, and the invariants that watch both."""

from __future__ import annotations

from typing import Any

from tests.sim.consensus import Make
from tests.sim.invariants import Invariants
from tests.sim.network import Network
from tests.sim.node import SimNode
from tests.sim.schedule import Options
from tests.sim.world import World

LOOK_SECONDS = 0.02
TAKE_IN_SECONDS = 0.5
START_SECONDS = 0.5


class Cluster:
    def __init__(self, world: World, make: Make, options: Options) -> None:
        self.world = world
        self.make = make
        self.options = options
        self.invariants = Invariants(world)
        self.network = Network(world, options.latency, self._sent)
        self.network.is_late_possible = options.is_late
        self.names = tuple(f"n{number + 1}" for number in range(options.nodes))
        self.nodes = [
            SimNode(name, self.names, world, self.network, make, options, self.invariants)
            for name in self.names
        ]
        self.invariants.nodes = self.nodes
        self.is_healed = False

    def start(self) -> None:
        rng = self.world.stream("cluster")
        for node in self.nodes:
            self.world.after(rng.random() * START_SECONDS, node.start)
        self.world.after(LOOK_SECONDS, self._look)

    @property
    def leader(self) -> SimNode | None:
        """Who leads, by its own opinion; of several the one of the highest term."""
        leading = [node for node in self.nodes if node.is_leading]
        return max(leading, key=lambda node: node.raft.term if node.raft is not None else 0, default=None)

    def heal(self) -> None:
        """The end of all faults: every link is up, every disk works, every node runs."""
        self.is_healed = True
        self.network.heal()
        for node in self.nodes:
            node.disk.repair()
            node.resume()
            node.is_held_down = False
            node.start()

    def may_lose(self, node: SimNode) -> bool:
        """Whether its disk may lose what it promised: one at a time, and while all vote, or no majority is left.

        By the leader's log and those of a majority: that all vote may stand in the leader's alone, and go with its
        disk; and that one is out may stand in the leader's alone, which then needs everybody else.
        """
        leader, everybody = self.leader, set(self.names)
        whole = [each for each in self.nodes if each.raft is not None and each.raft.members == everybody]
        is_whole = leader in whole and 2 * len(whole) > len(everybody)
        return is_whole and not any(each.is_forgetful for each in self.nodes)

    def take_in(self, node: SimNode) -> None:
        """Ask the leader to make it a voter, as often as it takes: first it observes, and catches up.

        To the end: a removal that was asked for before may come late, behind a slow disk.
        """
        leader = self.leader
        if leader is not None and leader.raft is not None and node.name not in leader.raft.members:
            leader.ask(lambda raft: raft.add(node.name))
        self.world.after(TAKE_IN_SECONDS, lambda: self.take_in(node))

    def close(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.loop.kill()
            node.drive.close()

    def _look(self) -> None:
        self.invariants.look()
        leader = self.leader
        if leader is not None and leader.raft is not None:
            for node in self.nodes:
                if node.is_learning and leader.raft.is_whole(node.name, node.disk_id):
                    node.is_forgetful = False
                    self.invariants.covered("disks replaced")
        self.world.after(LOOK_SECONDS, self._look)

    def _sent(self, source: str, target: str, frame: Any) -> None:
        """Every frame, at the moment it leaves: nothing of it may hang on what is not durable."""
        node = self.nodes[self.names.index(source)]
        text = self.make.unsynced(node.raft, target, frame) if node.raft is not None else ""
        if text:
            self.invariants.violated("I7 left before its sync", source, text)
