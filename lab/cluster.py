"""The cluster's processes: start, kill, pause, and what their logs say of who leads."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lab.network import Seats
from lab.processes import Process, program, wait_until

SECRET = "not a secret but long enough to be one"
LEADER_SECONDS_MAX = 60.0
DEPTH_MAX = 10_000_000
EXIT_SECONDS_MAX = 60.0
"""A broker's 10 s to stop, and what the kernel takes to end a process that is in a write to a slow disk."""


class Role(NamedTuple):
    """What a node last said it was."""

    term: int
    name: str


class Brokers:
    """Nodes n1, n2, ... of one cluster, each with a directory of its own."""

    def __init__(
        self,
        directory: Path,
        network: Seats,
        names: Sequence[str],
        *,
        data_dir: Callable[[str], Path] | None = None,
        env: Callable[[str], dict[str, str]] = lambda _: {},
        command: Callable[[str], Sequence[str]] = lambda _: [program("tq-broker")],
        election_ms: int = 1000,
    ) -> None:
        """data_dir, env, command: of a node, by its name. Nothing is started."""
        self.names = tuple(names)
        self._directory = directory
        self._network = network
        self._data_dir = data_dir or (lambda name: self.home(name) / "data")
        self._env = env
        self._command = command
        self._election_ms = election_ms
        self._running: dict[str, Process] = {}
        self._paused: set[str] = set()
        self.roles = Roles({name: self.home(name) / "log" for name in names})
        for name in names:
            self.home(name).mkdir(parents=True, exist_ok=True)
            (self.home(name) / "tq.yaml").write_text(self._config(name))

    @property
    def addresses(self) -> str:
        return ",".join(self._network.seat(name).client_address for name in self.names)

    def address(self, name: str) -> str:
        return self._network.seat(name).client_address

    def raft_address(self, name: str) -> str:
        """Where its peers reach a node."""
        seat = self._network.seat(name)
        return f"{seat.advertised_host}:{seat.raft_port}"

    def home(self, name: str) -> Path:
        """Configuration and log of a node."""
        return self._directory / name

    def data_dir(self, name: str) -> Path:
        return self._data_dir(name)

    def start(self, name: str) -> None:
        """Returns at once; see `ready`."""
        config = str(self.home(name) / "tq.yaml")
        command = [*self._network.seat(name).command, *self._command(name), "--config", config]
        self._running[name] = Process(command, log_path=self.home(name) / "log", env=self._env(name))

    def ready(self, name: str) -> None:
        """Wait until it serves. Raises ProcessFailed with the end of its log."""
        self._running[name].wait_for_event("ready")

    def kill(self, *names: str) -> None:
        """SIGKILL to all of them, then wait for all: together, as far as a machine can."""
        for name in names:
            self._running[name].send(signal.SIGKILL)
        for name in names:
            self._running[name].kill()
            self._paused.discard(name)

    def pause(self, *names: str) -> None:
        for name in names:
            self._running[name].send(signal.SIGSTOP)
            self._paused.add(name)

    def resume(self, *names: str) -> None:
        for name in names:
            self._running[name].send(signal.SIGCONT)
            self._paused.discard(name)

    def stop(self, name: str) -> int:
        """SIGTERM and wait; the exit code."""
        return self._running[name].stop(EXIT_SECONDS_MAX)

    def wait(self, name: str) -> int:
        """The exit code of one that has ended, or is about to."""
        return self._running[name].wait(EXIT_SECONDS_MAX)

    def process(self, name: str) -> Process:
        return self._running[name]

    def is_running(self, name: str) -> bool:
        return name in self._running and self._running[name].is_running

    @property
    def working(self) -> list[str]:
        """Those that run and are not paused."""
        return [name for name in self.names if self.is_running(name) and name not in self._paused]

    def leader(self) -> str:
        """The working node that says it leads, of the highest term; empty = none does."""
        self.roles.read()
        found = [
            (role.term, name)
            for name, role in self.roles.latest.items()
            if role.name == "leader" and name in self.working
        ]
        return max(found)[1] if found else ""

    def wait_for_leader(self, seconds: float = LEADER_SECONDS_MAX) -> str:
        return wait_until(self.leader, seconds, what=lambda: f"no leader among {self.working}")

    def close(self) -> None:
        for process in self._running.values():
            process.kill()

    def _config(self, name: str) -> str:
        """Everybody is known by the address of the seat, so that all bytes pass the network."""
        seats = {node: self._network.seat(node) for node in self.names}
        own = seats[name]
        config = {
            "broker": {"host": own.host, "port": own.tcp_port, "queue_depth_threshold": DEPTH_MAX},
            "persistence": {"data_dir": str(self._data_dir(name))},
            "raft": {
                "enabled": True,
                "node_id": name,
                "bind": f"{own.host}:{own.raft_port}",
                "advertise": f"{own.advertised_host}:{own.raft_port}",
                "peers": {
                    node: f"{seat.advertised_host}:{seat.raft_port}"
                    for node, seat in seats.items()
                    if node != name
                },
                "secret": SECRET,
                "election_timeout_ms": self._election_ms,
            },
            "api": {"rest_port": None, "grpc_port": None},
        }
        return json.dumps(config)  # which is YAML


class Roles:
    """What the nodes' logs say of roles, read once each line, over all their lives."""

    def __init__(self, logs: dict[str, Path]) -> None:
        self._logs = logs
        self._read_to = dict.fromkeys(logs, 0)
        self.latest: dict[str, Role] = {}
        self.leaders: dict[int, set[str]] = {}
        """term -> who ever led in it"""
        self.warnings: list[str] = []

    def read(self) -> None:
        for name, path in self._logs.items():
            if not path.exists():
                continue
            with path.open("rb") as log:
                log.seek(self._read_to[name])
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._read_to[name] += len(line)
                    if b'"raft_role"' in line:
                        self._note(name, json.loads(line))

    def _note(self, name: str, event: dict[str, object]) -> None:
        term, role = int(str(event["term"])), str(event["role"])
        self.latest[name] = Role(term, role)
        if role == "leader":
            self.leaders.setdefault(term, set()).add(name)

    @property
    def split_terms(self) -> dict[int, set[str]]:
        """Terms with more than one leader: none, or the cluster is broken."""
        self.read()
        return {term: names for term, names in self.leaders.items() if len(names) > 1}
