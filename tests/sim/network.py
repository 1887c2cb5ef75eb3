"""Links between nodes: streams with delay, cut, slowed, reset, in one direction or both.

A connection is a stream each way, first in first out, with a number (epoch). A cut holds frames back, as a network
that drops packets under TCP does; a reset loses what is in flight and a new connection is dialled. What the receiver
had not read of the old stream may still arrive after the new one is up (`late`): a socket that was replaced, not
closed, is still readable.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol

from tests.sim.world import StormError, World

SEND_SECONDS = 2e-5
IN_FLIGHT_MAX = 20_000
"""Frames on one link; more is a sender that runs away."""
REDIAL_SECONDS = (0.05, 0.5)
CUT_POLL_SECONDS = 0.05
LATE_SECONDS = (0.4, 3.4)

Frame = Any


class Endpoint(Protocol):
    """A node as the network sees it."""

    @property
    def incarnation(self) -> int:
        """Goes up with every start; 0 while the process is down."""
        ...

    @property
    def disk_id(self) -> str:
        """What it proves to be: see `replication.peer_book`."""
        ...

    def admits(self, peer: str, disk: str) -> bool: ...

    def connected(self, peer: str, epoch: int) -> None: ...

    def disconnected(self, peer: str, epoch: int) -> None: ...

    def receive(self, peer: str, frame: Frame, epoch: int) -> None: ...


class _Sent(NamedTuple):
    arrives: float
    frame: Frame


class Network:
    def __init__(
        self, world: World, latency: tuple[float, float], on_send: Callable[[str, str, Frame], None]
    ) -> None:
        """latency: seconds, shortest and longest. on_send: sees every frame that leaves a node."""
        self._world = world
        self._rng = world.stream("network")
        self._latency = latency
        self._on_send = on_send
        self._ends: dict[str, Endpoint] = {}
        self._epochs: dict[frozenset[str], int] = {}
        self._in_flight: dict[tuple[str, str], deque[_Sent]] = {}
        self._last_arrival: dict[tuple[str, str], float] = {}
        self._cuts: Counter[tuple[str, str]] = Counter()
        self._slow: dict[tuple[str, str], tuple[float, float]] = {}
        self._next_epoch = 0
        self.is_late_possible = False
        """Whether the rest of a replaced stream may still be read."""
        self.counts: Counter[str] = Counter()

    def attach(self, node: str, end: Endpoint) -> None:
        self._ends[node] = end

    def dial_all(self, node: str) -> None:
        """The node came up: it and the others look for each other."""
        for peer in self._ends:
            if peer != node:
                self._redial(node, peer)

    # ------------------------------------------------------------ what nodes do

    def send(self, source: str, target: str, frame: Frame) -> bool:
        """Put a frame on the stream; False when there is none."""
        self._world.spend(SEND_SECONDS)
        epoch = self._epochs.get(frozenset((source, target)))
        if epoch is None:
            return False
        self._on_send(source, target, frame)
        self.counts["frames"] += 1
        way = (source, target)
        queue = self._in_flight.setdefault(way, deque())
        if len(queue) >= IN_FLIGHT_MAX:
            raise StormError(f"{IN_FLIGHT_MAX} frames are in flight from {source} to {target}")
        low, high = self._latency
        now = self._world.now
        until, factor = self._slow.get(way, (0.0, 1.0))
        delay = self._rng.uniform(low, high) * (factor if now < until else 1.0)
        arrives = max(now + delay, self._last_arrival.get(way, 0.0) + 1e-6)
        self._last_arrival[way] = arrives
        queue.append(_Sent(arrives, frame))
        self._world.at(arrives, lambda: self._deliver(source, target, epoch))
        return True

    # ------------------------------------------------------------ what the nemesis does

    def cut(self, ways: Iterable[tuple[str, str]], seconds: float) -> None:
        """Nothing gets through these directions for so long."""
        ways = list(ways)
        self._cuts.update(ways)
        self._world.after(seconds, lambda: self._cuts.subtract(ways))

    def slow(self, ways: Iterable[tuple[str, str]], seconds: float, factor: float) -> None:
        until = self._world.now + seconds
        self._slow.update(dict.fromkeys(ways, (until, factor)))

    def reset(self, one: str, other: str) -> None:
        """The connection breaks; both sides hear of it and dial again."""
        pair = frozenset((one, other))
        epoch = self._epochs.pop(pair, None)
        if epoch is None:
            return
        self.counts["resets"] += 1
        for way in ((one, other), (other, one)):
            left = self._in_flight.pop(way, deque())
            self._last_arrival.pop(way, None)
            if self.is_late_possible:
                self._arrive_late(way, left, epoch)
        for end, peer in ((one, other), (other, one)):
            if self._ends[end].incarnation:
                self._ends[end].disconnected(peer, epoch)
        self._redial(one, other)

    def heal(self) -> None:
        self._cuts.clear()
        self._slow.clear()
        self.is_late_possible = False
        for way, queue in self._in_flight.items():
            self._hasten(way, queue)

    def is_cut(self, source: str, target: str) -> bool:
        return self._cuts[source, target] > 0

    # ------------------------------------------------------------ inside

    def _hasten(self, way: tuple[str, str], queue: deque[_Sent]) -> None:
        """What a slow link still holds comes as if it was sent now: all that is sent after it waits for it, in order,
        and the time that a healed cluster has for its election would be over before it begins."""
        source, target = way
        epoch = self._epochs.get(frozenset(way))
        if epoch is None:
            return
        latest = self._world.now + self._latency[1]
        for position, sent in enumerate(queue):
            if sent.arrives > latest:
                queue[position] = sent._replace(arrives=latest)
                self._world.at(latest, lambda: self._deliver(source, target, epoch))
                self._last_arrival[way] = latest
            latest += 1e-6

    def _redial(self, one: str, other: str) -> None:
        self._world.after(self._rng.uniform(*REDIAL_SECONDS), lambda: self._connect(one, other))

    def _connect(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        if pair in self._epochs or not (self._ends[one].incarnation and self._ends[other].incarnation):
            return
        if self.is_cut(one, other) or self.is_cut(other, one):
            self._redial(one, other)
            return
        # Both are asked: each remembers what it was shown.
        is_admitted = self._ends[one].admits(other, self._ends[other].disk_id)
        if not self._ends[other].admits(one, self._ends[one].disk_id) or not is_admitted:
            self.counts["refused"] += 1
            self._redial(one, other)
            return
        self._next_epoch += 1
        self._epochs[pair] = epoch = self._next_epoch
        self._ends[one].connected(other, epoch)
        self._ends[other].connected(one, epoch)

    def _deliver(self, source: str, target: str, epoch: int) -> None:
        if self._epochs.get(frozenset((source, target))) != epoch:
            return
        if self.is_cut(source, target):
            self._world.after(CUT_POLL_SECONDS, lambda: self._deliver(source, target, epoch))
            return
        queue = self._in_flight[source, target]
        if queue and queue[0].arrives <= self._world.now:
            self._ends[target].receive(source, queue.popleft().frame, epoch)

    def _arrive_late(self, way: tuple[str, str], left: deque[_Sent], epoch: int) -> None:
        """A beginning of what was left in the old stream is read after all, in order."""
        source, target = way
        end = self._ends[target]
        incarnation = end.incarnation
        if not incarnation:
            return

        def arrive(frame: Frame) -> None:
            if end.incarnation == incarnation:
                self.counts["late"] += 1
                end.receive(source, frame, epoch)

        when = self._world.now + self._rng.uniform(*LATE_SECONDS)
        for sent in left:
            if self._rng.random() < 0.2:
                return
            when += 1e-6
            self._world.at(when, partial(arrive, sent.frame))
