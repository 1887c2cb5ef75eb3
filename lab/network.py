"""Where the nodes of a cluster are, and what lies between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from lab.ports import ReservedPort

Way: TypeAlias = tuple[str, str]
"""(from, to): one direction between two nodes, or between a node and CLIENTS."""

CLIENTS = "clients"
"""Everything that is no node: submitters, readers, workers, the judge."""


class Seat(NamedTuple):
    """Where a node listens and where everybody else finds it; command stands before that of the broker."""

    host: str
    advertised_host: str
    tcp_port: int
    raft_port: int
    command: tuple[str, ...] = ()

    @property
    def client_address(self) -> str:
        return f"{self.advertised_host}:{self.tcp_port}"


class Seats(Protocol):
    def seat(self, node: str) -> Seat: ...


class Network(Seats, Protocol):
    """Carries everything between nodes, and between clients and nodes, until it is told not to."""

    def cut(self, ways: Collection[Way], *, resets: bool) -> None:
        """Let nothing more pass these ways and everything pass all others. resets: connections are broken and
        refused; without, they stay open and silent, and what was held back arrives after `heal`."""
        ...

    def slow(self, ways: Collection[Way], seconds: float) -> None:
        """Let what passes these ways arrive so much later, and nothing else late."""
        ...

    def heal(self) -> None:
        """Let everything pass at once."""
        ...

    def close(self) -> None: ...


class Direct:
    """Nothing between anybody, and nothing that breaks: for measures and traces. A seat each, no ways."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._ports: list[ReservedPort] = []
        self._seats = {
            node: Seat(host, host, self._reserve(host), self._reserve(host))
            for node, host in ((node, f"127.0.3.{number}") for number, node in enumerate(nodes, start=1))
        }

    def seat(self, node: str) -> Seat:
        return self._seats[node]

    def close(self) -> None:
        """Give the nodes' ports back."""
        for port in self._ports:
            port.close()

    def _reserve(self, host: str) -> int:
        self._ports.append(ReservedPort(host))
        return self._ports[-1].number
