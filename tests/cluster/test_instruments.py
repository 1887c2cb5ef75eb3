"""The instruments are right: the judge of syncs, the register, the shapes of partitions, the gates."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from contextlib import closing

import pytest

from lab.gates import Gates
from lab.network import CLIENTS
from tests.cluster.history import History
from tests.cluster.partitions import SHAPES, leaves_majority
from tests.cluster.register import Register
from tests.cluster.sync_order import BLOCK_BYTES, FRAGMENT, synced_at, unproven
from tests.cluster.syscalls import Call
from tq import ids

LOG = "/data/journal/000004.log"
FULL, FIRST, LAST = 1, 2, 4
GREETING = b"0123456789abcdef"


def test_only_a_sync_that_begins_after_the_write_counts() -> None:
    task_id = ids.new_id()
    early = Call("fdatasync", LOG, b"", 0, 0.5, 3.0)
    write = Call("write", LOG, _framed([task_id]), 1, 1.0, 2.0)
    late = Call("fdatasync", LOG, b"", 0, 4.0, 5.0)

    assert synced_at([write, early], [task_id]) == {}
    assert synced_at([write, early, late], [task_id]) == {task_id: 5.0}
    assert synced_at([write._replace(target="/data/store/000004.log"), late], [task_id]) == {}


def test_an_id_that_is_cut_by_the_end_of_a_block_is_found() -> None:
    task_id = ids.new_id()
    filler = bytes(BLOCK_BYTES - 2 * FRAGMENT.size - 5)
    content = _framed([filler]) + _framed([task_id[:5]], FIRST) + _framed([task_id[5:]], LAST)
    write = Call("write", LOG, content, len(content), 1.0, 2.0)
    sync = Call("fdatasync", LOG, b"", 0, 3.0, 4.0)

    assert len(_framed([filler]) + _framed([task_id[:5]], FIRST)) == BLOCK_BYTES
    assert synced_at([write, sync], [task_id]) == {task_id: 4.0}


def test_an_answer_needs_a_majority_whose_syncs_were_over_before_it() -> None:
    task_id = ids.new_id()
    in_time = {"n1": {task_id: 1.0}, "n2": {task_id: 2.0}, "n3": dict[bytes, float]()}

    assert unproven({task_id: 2.5}, in_time) == []
    assert [each.synced for each in unproven({task_id: 2.0}, in_time)] == [("n1",)]


@pytest.mark.parametrize("nodes", [("n1", "n2", "n3"), ("n1", "n2", "n3", "n4", "n5")], ids=len)
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_leaves_a_majority_or_it_does_not(name: str, nodes: tuple[str, ...]) -> None:
    for seed in range(50):
        ways = SHAPES[name](nodes, "n2", random.Random(seed))
        is_left = leaves_majority(nodes, ways, "n2")
        hides_leader = name == "clients cut off" and ("n2", CLIENTS) in ways
        assert ways
        assert is_left == (name != "everyone alone" and not hides_leader), (seed, ways)


def test_the_register_takes_growing_tokens_and_tells_of_a_lease_that_two_have() -> None:
    history = History(lambda _: None)
    register = Register(history)

    assert register.write("task", 5, "one")
    assert register.write("task", 9, "two")
    assert not register.write("task", 5, "one")
    assert history.violations == []
    register.write("task", 9, "one")
    assert len(history.violations) == 1


def test_a_gate_holds_one_way_lets_the_other_pass_and_breaks_both() -> None:
    with closing(Gates(["n1"])) as gates, socket.socket() as listener:
        seat = gates.seat("n1")
        listener.bind((seat.host, seat.tcp_port))
        listener.listen()
        client = socket.create_connection((seat.advertised_host, seat.tcp_port), 10)
        node, _ = listener.accept()
        for each in (client, node):
            each.settimeout(10)
        with client, node:
            gates.cut([(CLIENTS, "n1")], resets=False)
            client.sendall(GREETING)
            node.sendall(GREETING)
            assert client.recv(64) == GREETING
            node.settimeout(0.2)
            with pytest.raises(TimeoutError):
                node.recv(64)
            node.settimeout(10)
            gates.heal()
            assert node.recv(64) == GREETING
            gates.cut([("n1", CLIENTS)], resets=True)
            assert _ended(client)
            assert _ended(node)


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def _framed(parts: Iterable[bytes], kind: int = FULL) -> bytes:
    return b"".join(FRAGMENT.pack(0, len(part), kind) + part for part in parts)
