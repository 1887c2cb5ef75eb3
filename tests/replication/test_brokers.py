"""Three real brokers: clients find the leader, and nothing acknowledged is lost when it is killed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.processes import Process, program, wait_until
from tq import Client

SECRET = "not a secret but long enough to be one"


class Brokers:
    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        names = ("n1", "n2", "n3")
        with ExitStack() as held:
            free = iter([_reserve(held) for _ in range(6)])
            self._tcp = {name: next(free) for name in names}
            self._raft = {name: next(free) for name in names}
        self.running = {name: self.start(name) for name in names}
        for broker in self.running.values():
            broker.wait_for_event("ready")

    @property
    def addresses(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._tcp.values())

    def start(self, name: str) -> Process:
        home = self._directory / name
        home.mkdir(exist_ok=True)
        peers = ", ".join(f"{node}: '127.0.0.1:{port}'" for node, port in self._raft.items())
        (home / "tq.yaml").write_text(
            f"broker: {{host: 127.0.0.1, port: {self._tcp[name]}}}\n"
            f"persistence: {{data_dir: {home / 'data'}}}\n"
            f"raft: {{enabled: true, node_id: {name}, bind: '127.0.0.1:{self._raft[name]}', "
            f"peers: {{{peers}}}, secret: {SECRET}}}\n"
            "api: {rest_port: 0, grpc_port: 0}\n"
        )
        command = [program("tq-broker"), "--config", str(home / "tq.yaml")]
        return self._stack.enter_context(Process(command, log_path=home / "log"))

    def leader(self) -> str:
        def leading() -> str | None:
            found = []
            for name, broker in self.running.items():
                roles = [event for event in broker.events() if event.get("event") == "raft_role"]
                if broker.is_running and roles and roles[-1]["role"] == "leader":
                    found.append((roles[-1]["term"], name))
            return str(max(found)[1]) if found else None

        return str(wait_until(leading, 20, what="a leader"))


def _reserve(held: ExitStack) -> int:
    """A port that was free a moment ago: nodes name each other's before they start."""
    listener = held.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with ExitStack() as stack:
        yield Brokers(tmp_path, stack)


def test_tasks_survive_the_leader_and_a_planned_stop_hands_over(brokers: Brokers) -> None:
    first = brokers.leader()
    with Client(brokers.addresses) as client:
        ids = [client.submit_task("echo", b"before %d" % number) for number in range(20)]
        brokers.running[first].kill()
        ids.append(client.submit_task("echo", b"after"))
        second = brokers.leader()
        assert second != first
        brokers.running[first].wait()
        brokers.running[first] = brokers.start(first)
        brokers.running[first].wait_for_event("ready")
        ids += [client.submit_task("echo", b"later %d" % number) for number in range(20)]
        assert brokers.running[second].stop() == 0
        ids.append(client.submit_task("echo", b"last"))
        assert [client.get_task(task_id).status for task_id in ids] == ["pending"] * len(ids)
        members = client.cluster().members
        assert sorted(member.node_id for member in members) == ["n1", "n2", "n3"]
    assert brokers.leader() != second
