"""Who belongs to the cluster: the configuration as of the log's base, and what the log holds behind it.

A configuration counts from the moment its entry is in the log, committed or not, and no longer when the entry is cut
off again (thesis 4.1). It is read from the log, so a restart knows what the process before knew (D2), and every entry
names the whole configuration, so an old one cannot be applied twice. Two that follow each other differ by one voter,
so that their majorities share a node (I8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgpack

from tq.broker.replication.records import CONTROL
from tq.errors import StoreDamaged

NODES_MAX = 64


class Node(NamedTuple):
    """One node of a configuration. address: where peers dial it. is_joining: an observer that is to vote.

    disk: uuid and generation of the only data directory that counts as this node's; empty = the one seen first.
    """

    address: str
    votes: bool = True
    is_joining: bool = False
    disk: str = ""


class Configuration(NamedTuple):
    """Node ids, sorted. addresses, disks: of each, in the order voters + observers; see `Node`.

    joining: the observers that are to vote once they have caught up.
    """

    voters: tuple[str, ...]
    observers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    joining: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.voters + self.observers

    def voters_but(self, node: str) -> list[str]:
        return [voter for voter in self.voters if voter != node]

    def nodes_but(self, node: str) -> list[str]:
        return [each for each in self.nodes if each != node]

    def address(self, node: str) -> str:
        """Empty when it is not known."""
        return dict(zip(self.nodes, self.addresses, strict=False)).get(node, "")

    def disk(self, node: str) -> str:
        return dict(zip(self.nodes, self.disks, strict=False)).get(node, "")

    def disks_but(self, node: str) -> dict[str, str]:
        """Of every node but this one: node id -> the disk that counts as its own, empty = not said."""
        return {each: self.disk(each) for each in self.nodes_but(node)}

    def known(self) -> dict[str, Node]:
        """Node id -> what is known of it."""
        return {
            node: Node(self.address(node), node in self.voters, node in self.joining, self.disk(node))
            for node in self.nodes
        }

    @classmethod
    def made(cls, known: Mapping[str, Node]) -> Configuration:
        voters = tuple(sorted(node for node, each in known.items() if each.votes))
        observers = tuple(sorted(node for node, each in known.items() if not each.votes))
        nodes = voters + observers
        joining = tuple(node for node in observers if known[node].is_joining)
        disks = tuple(known[node].disk for node in nodes)
        return cls(
            voters,
            observers,
            tuple(known[node].address for node in nodes),
            joining,
            disks if any(disks) else (),
        )

    @classmethod
    def of(cls, voters: Mapping[str, str], observers: Mapping[str, str]) -> Configuration:
        """From maps of node id to address."""
        watching = {node: Node(address, votes=False) for node, address in observers.items()}
        return cls.made({node: Node(address) for node, address in voters.items()} | watching)


def pack_configuration(configuration: Configuration) -> bytes:
    """As an entry's data."""
    packed: bytes = msgpack.packb(tuple(configuration))
    return CONTROL + packed


def unpack_configuration(data: bytes) -> Configuration | None:
    """None for an entry that is none. Raises StoreDamaged for one that this release cannot read."""
    if data[:1] != CONTROL:
        return None
    try:
        parts = msgpack.unpackb(data[1:], use_list=False, max_array_len=2 * NODES_MAX)
        configuration = Configuration(*parts)
        texts = [text for part in configuration for text in part]
        if not all(isinstance(text, str) for text in texts) or not configuration.voters:
            raise ValueError("not texts")
    except Exception as error:  # noqa: BLE001  whatever msgpack raises: it is not what a node writes
        raise StoreDamaged("an entry that should name the cluster's nodes is not readable") from error
    return configuration


class Membership:
    def __init__(self, base: Configuration) -> None:
        """base: the configuration as of the log's base."""
        self._base = base
        self._changes: list[tuple[int, Configuration]] = []

    @property
    def current(self) -> Configuration:
        return self._changes[-1][1] if self._changes else self._base

    @property
    def changed_at(self) -> int:
        """The entry that made it current; 0 = it is the base's."""
        return self._changes[-1][0] if self._changes else 0

    def as_of(self, index: int) -> Configuration:
        """The configuration after entry `index`, which is not below the base."""
        found = self._base
        for at, configuration in self._changes:
            if at <= index:
                found = configuration
        return found

    def appended(self, index: int, data: bytes) -> bool:
        """An entry was added; whether it changed the configuration."""
        configuration = unpack_configuration(data)
        if configuration is not None:
            self._changes.append((index, configuration))
        return configuration is not None

    def truncated(self, index: int) -> bool:
        """Entry `index` and all behind it are gone; whether that changed the configuration."""
        before = len(self._changes)
        self._changes = [change for change in self._changes if change[0] < index]
        return len(self._changes) != before

    def based(self, index: int, base: Configuration) -> None:
        """The log now begins behind entry `index`."""
        self._base = base
        self._changes = [change for change in self._changes if change[0] > index]
