"""A network of packets: every node in a network namespace of its own, with the harness as the router between them.

Needs root. What is cut is dropped by the receiver's routing rules, so that TCP's own time-outs and retransmissions are
part of the game, which a proxy cannot offer. Everything is made inside namespaces that belong to the harness's process
(`enter`), and is gone when that ends, however it ends: addresses, links, mounts, and the brokers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from lab.network import CLIENTS, Seat, Way
from tests.cluster.shell import run, try_to

INSIDE = "CHAOS_INSIDE"
"""Environment variable: this process is in namespaces of its own already."""
TCP_PORT, RAFT_PORT = 6379, 7379
CUT, LOCAL = "100", "200"
"""Priorities of routing rules: those that cut come before the one that delivers."""
SEGMENT_BITS = 12_000
QUEUE_BYTES = 200_000


def possible() -> bool:
    return os.geteuid() == 0 and try_to("unshare", "--net", "--mount", "--pid", "--fork", "ip", "link")


def enter(module: str, arguments: Sequence[str]) -> None:
    """Become this module again, as the first process of new namespaces of network, mounts and processes."""
    os.environ[INSIDE] = "1"
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp(unshare[0], [*unshare, sys.executable, "-m", module, *arguments])


def is_inside() -> bool:
    return INSIDE in os.environ


class Namespaces:
    """Serves `network.Network`. Made, it is open; gone with the process."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._numbers = {node: number for number, node in enumerate(nodes, start=1)}
        run("ip", "link", "set", "lo", "up")
        Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "none", "/run/netns")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        _deliver_after_cuts(())
        for node in nodes:
            self._add(node)

    def seat(self, node: str) -> Seat:
        address = self._address(node)
        return Seat(address, address, TCP_PORT, RAFT_PORT, ("ip", "netns", "exec", node))

    def cut(self, ways: Collection[Way], *, resets: bool) -> None:
        self.heal()
        for sender, receiver in ways:
            verdict = "unreachable" if resets else "blackhole"
            run(*_in(receiver), "ip", "rule", "add", "pref", CUT, *self._from(sender, receiver), verdict)
            if resets:
                # Both ends lose their connections; not every kernel can.
                try_to(*_in(receiver), "ss", "-K", "dst", self._seen_by(sender, receiver))

    def slow(self, ways: Collection[Way], seconds: float) -> None:
        """By a bucket that lets one segment pass in that time. All that goes to a node shares it."""
        self.heal()
        rate = f"{int(SEGMENT_BITS / seconds)}bit"
        bucket = ["tbf", "rate", rate, "burst", "3000", "limit", str(QUEUE_BYTES)]
        for receiver in {receiver for _, receiver in ways if receiver != CLIENTS}:
            run("tc", "qdisc", "add", "dev", self._link(receiver), "root", *bucket)

    def heal(self) -> None:
        for place in (CLIENTS, *self._numbers):
            while try_to(*_in(place), "ip", "rule", "del", "pref", CUT):
                pass
        for node in self._numbers:
            try_to("tc", "qdisc", "del", "dev", self._link(node), "root")

    def close(self) -> None:
        self.heal()

    def _add(self, node: str) -> None:
        link, number = self._link(node), self._numbers[node]
        run("ip", "netns", "add", node)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", node)
        run("ip", "address", "add", f"10.77.{number}.1/24", "dev", link)
        run("ip", "link", "set", link, "up")
        inside = _in(node)
        run(*inside, "ip", "address", "add", f"{self._address(node)}/24", "dev", "eth0")
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, "ip", "link", "set", "eth0", "up")
        run(*inside, "ip", "route", "add", "default", "via", f"10.77.{number}.1")
        _deliver_after_cuts(inside)

    def _from(self, sender: str, receiver: str) -> list[str]:
        """What the receiver's rule matches."""
        if receiver == CLIENTS:
            return ["iif", self._link(sender), "to", self._router(sender)]
        return ["iif", "eth0", "from", self._seen_by(sender, receiver)]

    def _seen_by(self, sender: str, receiver: str) -> str:
        return self._router(receiver) if sender == CLIENTS else self._address(sender)

    def _address(self, node: str) -> str:
        return f"10.77.{self._numbers[node]}.2"

    def _router(self, node: str) -> str:
        """The harness's address on the node's link: clients dial from there."""
        return f"10.77.{self._numbers[node]}.1"

    def _link(self, node: str) -> str:
        return f"veth{self._numbers[node]}"


def _in(place: str) -> tuple[str, ...]:
    return () if place == CLIENTS else ("ip", "netns", "exec", place)


def _deliver_after_cuts(inside: Sequence[str]) -> None:
    """The rule that delivers to this host comes first by default, before any that could cut."""
    run(*inside, "ip", "rule", "add", "pref", LOCAL, "lookup", "local")
    run(*inside, "ip", "rule", "del", "pref", "0")
