"""Nothing is acknowledged before a majority has it on its disks: seen from outside, by strace, on every node."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from lab.cluster import Brokers
from lab.network import Direct
from lab.processes import program
from tests.cluster.sync_order import Unproven, answered_at, synced_at, unproven
from tests.cluster.syscalls import STRACE, Call, calls
from tq import Client, ids
from tq.protocol.connection import Connection, Role
from tq.protocol.events import ReplyReceived
from tq.task import TaskSpec
from tq.verbs import Ping, Submit, Submitted

NODES = ("n1", "n2", "n3")
ACKNOWLEDGEMENTS = 2_000
ACKNOWLEDGEMENTS_UNSYNCED = 60
IN_FLIGHT = 8
"""So that entries hold several tasks, and many entries are needed."""
ELECTION_MS = 5_000
"""strace makes a loaded machine slow enough for elections, which are not the subject."""
ANSWER_SECONDS_MAX = 60.0


pytestmark = pytest.mark.timeout(300)


def test_a_majority_has_synced_what_is_acknowledged(tmp_path: Path) -> None:
    proof = _prove(tmp_path, [program("tq-broker")], ACKNOWLEDGEMENTS)

    assert proof.unproven == []
    assert proof.acknowledged == ACKNOWLEDGEMENTS
    assert proof.entries_least > 50


def test_the_proof_fails_for_brokers_that_do_not_sync(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.cluster.unsynced_broker"]

    proof = _prove(tmp_path, command, ACKNOWLEDGEMENTS_UNSYNCED)

    assert len(proof.unproven) > ACKNOWLEDGEMENTS_UNSYNCED / 2


class _Proof:
    def __init__(
        self, seen: dict[str, list[Call]], leader: str, client: str, task_ids: dict[int, bytes]
    ) -> None:
        """client: the address at the other end of the leader's connection. task_ids: by request."""
        sent = [call for call in seen[leader] if call.target.endswith(f"->{client}]")]
        answers = answered_at(sent)
        answered = {task_id: answers[request] for request, task_id in task_ids.items() if request in answers}
        synced = {node: synced_at(seen[node], task_ids.values()) for node in NODES}
        self.unproven: list[Unproven] = unproven(answered, synced)
        self.acknowledged = len(answered)
        self.entries_least = len(set(synced[leader].values()))


def _prove(directory: Path, command: Sequence[str], count: int) -> _Proof:
    """Let three traced brokers acknowledge so many tasks, and look at the traces."""
    traces = {node: directory / f"{node}.trace" for node in NODES}
    network = Direct(NODES)
    brokers = Brokers(
        directory,
        network,
        NODES,
        command=lambda node: [*STRACE, str(traces[node]), *command],
        election_ms=ELECTION_MS,
    )
    with closing(network), closing(brokers):
        for node in NODES:
            brokers.start(node)
        for node in NODES:
            brokers.ready(node)
        leader = brokers.wait_for_leader()
        with Client(brokers.address(leader)) as first:
            first.submit_task("traced")  # waits until the one that was elected takes submits
        client, task_ids = _submit(brokers.address(leader), count)
    return _Proof({node: list(calls(traces[node])) for node in NODES}, leader, client, task_ids)


def _submit(address: str, count: int) -> tuple[str, dict[int, bytes]]:
    """One task a request, IN_FLIGHT at a time, over one connection: its own address, and request id -> task id."""
    host, _, port = address.rpartition(":")
    sent: dict[int, bytes] = {}
    acknowledged = 0
    with socket.create_connection((host, int(port)), ANSWER_SECONDS_MAX) as sock:
        connection = Connection(Role.PEER)
        connection.start_hello("client", "", "", "tests.cluster")
        while acknowledged < count:
            if connection.is_open:
                while len(sent) < min(count, acknowledged + IN_FLIGHT):
                    task_id = ids.new_id()
                    sent[connection.send_request(Submit((TaskSpec(task_id, "traced"),)))] = task_id
            sock.sendall(connection.data_to_send())
            for event in connection.receive(sock.recv(65_536)):
                if isinstance(event, ReplyReceived):
                    assert isinstance(event.reply, Submitted), event
                    acknowledged += 1
        # strace writes a call down when it returns, before the next one begins: this answer is that next one.
        connection.send_request(Ping())
        sock.sendall(connection.data_to_send())
        assert connection.receive(sock.recv(65_536)), "the broker hung up"
        own_host, own_port = sock.getsockname()
    return f"{own_host}:{own_port}", sent
