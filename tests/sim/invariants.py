"""What must hold at every moment, looked at while it happens. The names (I1 ...) are those of the design's list.

I1  at most one leader a term.                          I5  a committed entry is durable on a majority.
I2  same index and term: same entry, same before it.    I6  commit never goes back; nothing committed is cut.
I3  one entry per applied index, on all nodes.          I7  nothing leaves that hangs on what is not synced.
I4  what a leader counts as matched is durable there.   I8  one configuration change at a time.

The rest is seen at the end (`checker`), or stops the run (I15: `world.StormError`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.sim.node import SimNode
from tests.sim.world import World

KEPT = 6
"""Violations described in full; all are counted."""


class Violation(NamedTuple):
    at: float
    kind: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.kind}  {self.node}  {self.text}"


class Invariants:
    """A `consensus.Watcher`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.nodes: Sequence[SimNode] = ()
        self.violations: list[Violation] = []
        self.kinds: Counter[str] = Counter()
        self.coverage: Counter[str] = Counter()
        self.leaders: dict[int, str] = {}
        self._entries: dict[tuple[int, int], tuple[int, int]] = {}
        self._applied: dict[int, int] = {}
        self._commits: dict[str, tuple[int, int]] = {}
        self._checked: dict[str, int] = {}

    # ------------------------------------------------------------ what nodes tell

    def violated(self, kind: str, node: str, text: str) -> None:
        self.kinds[kind] += 1
        if len(self.violations) < KEPT and all(one.kind != kind for one in self.violations):
            self.violations.append(Violation(self._world.now, kind, node, text))

    def covered(self, what: str) -> None:
        self.coverage[what] += 1

    def added(self, node: str, index: int, term: int, previous_term: int, digest: int) -> None:
        known = self._entries.setdefault((index, term), (previous_term, digest))
        if known[1] != digest:
            self.violated("I2 log matching", node, f"two entries {index} of term {term}")

    def cut(self, node: str, index: int, commit_index: int, applied_index: int) -> None:
        self.covered("truncations")
        if index <= max(commit_index, applied_index):
            self.violated(
                "I6 committed entry cut",
                node,
                f"from {index}, commit {commit_index}, applied {applied_index}",
            )

    def applied(self, node: str, index: int, digest: int) -> None:
        if self._applied.setdefault(index, digest) != digest:
            self.violated("I3 state machine safety", node, f"another entry {index} was applied elsewhere")

    # ------------------------------------------------------------ what is looked at

    def look(self) -> None:
        """At all nodes, between events."""
        for node in self.nodes:
            self._look_at(node)

    def _look_at(self, node: SimNode) -> None:
        raft = node.raft
        if raft is None:
            return
        commit = raft.commit_index
        starts, before = self._commits.get(node.name, (0, 0))
        if starts == node.starts and commit < before:
            self.violated("I6 commit went back", node.name, f"from {before} to {commit}")
        self._commits[node.name] = (node.starts, commit)
        if not raft.is_leader:
            return
        term = raft.term
        if self.leaders.setdefault(term, node.name) != node.name:
            self.violated("I1 two leaders", node.name, f"in term {term}, the other is {self.leaders[term]}")
        self._look_at_matches(node, term)
        told = raft.told_index
        if told > self._checked.get(node.name, 0):
            self._checked[node.name] = told
            self._look_at_commit(node, told)

    def _look_at_matches(self, leader: SimNode, term: int) -> None:
        assert leader.raft is not None
        members = leader.raft.members
        for name, index in leader.raft.matches().items():
            if index <= 1 or name not in members:
                continue
            follower = self._named(name)
            if follower is None or follower.raft is None or follower.raft.term != term:
                continue
            mine, theirs = leader.raft.term_at(index), follower.raft.durable_term_at(index)
            if mine is not None and theirs != 0 and theirs != mine:
                self.violated(
                    "I4 match not durable", leader.name, f"{name} is said to hold {index}, has term {theirs}"
                )

    def _look_at_commit(self, leader: SimNode, commit: int) -> None:
        """By one of the configurations since: they may have changed behind the entry, more than once between two looks."""
        assert leader.raft is not None
        term = leader.raft.term_at(commit)
        if term is None:
            return
        since = leader.raft.members_since(commit)
        if not any(self._is_kept(commit, term, members) for members in since):
            self.violated(
                "I5 committed on a minority", leader.name, f"{commit}, of {list(map(sorted, since))}"
            )

    def _is_kept(self, commit: int, term: int, members: frozenset[str]) -> bool:
        """Counted over the nodes that run: one that is down may hold it too."""
        holders = unknown = 0
        for name in members:
            node = self._named(name)
            if node is None or node.raft is None or node.is_forgetful:
                unknown += 1
            elif node.raft.durable_term_at(commit) in (term, 0):
                holders += 1
        return holders + unknown > len(members) // 2

    def _named(self, name: str) -> SimNode | None:
        return next((node for node in self.nodes if node.name == name), None)
