"""The shapes in which a network breaks, and who can still work then."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from lab.network import CLIENTS, Way

Shape: TypeAlias = Callable[[Sequence[str], str, random.Random], set[Way]]
"""(nodes, the leader or "", chance) -> the ways that are cut."""


def both_ways(one: Collection[str], other: Collection[str]) -> set[Way]:
    return {way for a in one for b in other for way in ((a, b), (b, a))}


def pick(nodes: Sequence[str], leader: str, rng: random.Random) -> str:
    """A node; half of the time the leader, where one is known."""
    return leader if leader and rng.random() < 0.5 else rng.choice(nodes)


def one_alone(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    alone = pick(nodes, leader, rng)
    return both_ways([alone], [node for node in nodes if node != alone])


def halves(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """A minority as large as it can be, with or without the leader."""
    shuffled = rng.sample(nodes, len(nodes))
    return both_ways(shuffled[: len(nodes) // 2], shuffled[len(nodes) // 2 :])


def everyone_alone(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    return {(a, b) for a in nodes for b in nodes if a != b}


def bridge(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """Two sides that see each other only through one node."""
    middle, *rest = rng.sample(nodes, len(nodes))
    return both_ways(rest[: len(rest) // 2], rest[len(rest) // 2 :])


def majority_ring(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """Everybody sees a majority, and nobody the same one. Of three nodes this is the bridge."""
    ring = rng.sample(nodes, len(nodes))
    reach = len(nodes) // 4 or 1
    if len(nodes) == 3:
        return bridge(nodes, leader, rng)
    places = range(len(ring))
    far = [(a, b) for a in places for b in places if reach < (b - a) % len(ring) < len(ring) - reach]
    return {(ring[a], ring[b]) for a, b in far}


def deaf(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """One node is heard and hears nothing."""
    node = pick(nodes, leader, rng)
    return {(other, node) for other in nodes if other != node}


def mute(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """One node hears and is not heard."""
    node = pick(nodes, leader, rng)
    return {(node, other) for other in nodes if other != node}


def one_way_link(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """A single direction between two nodes."""
    one, other = rng.sample(nodes, 2)
    return {(one, other)}


def clients_cut_off(nodes: Sequence[str], leader: str, rng: random.Random) -> set[Way]:
    """A node that its peers see and its clients do not."""
    return both_ways([pick(nodes, leader, rng)], [CLIENTS])


SHAPES: dict[str, Shape] = {
    "one node alone": one_alone,
    "halves": halves,
    "everyone alone": everyone_alone,
    "bridge": bridge,
    "majority ring": majority_ring,
    "one node deaf": deaf,
    "one node mute": mute,
    "one-way link": one_way_link,
    "clients cut off": clients_cut_off,
}


def leaves_majority(nodes: Sequence[str], ways: Collection[Way], leader: str) -> bool:
    """Whether clients are served while these ways are cut.

    Some node must talk both ways with a majority and with clients. Bridges and rings leave one, though it may take an
    election to find it; but a leader that only its clients miss stays the leader.
    """
    cut = set(ways)

    def talk(a: str, b: str) -> bool:
        return a == b or ((a, b) not in cut and (b, a) not in cut)

    def has_majority(node: str) -> bool:
        return 2 * sum(talk(node, other) for other in nodes) > len(nodes)

    if any(has_majority(node) and not talk(node, CLIENTS) for node in ([leader] if leader else nodes)):
        return False
    return any(talk(node, CLIENTS) and has_majority(node) for node in nodes)
