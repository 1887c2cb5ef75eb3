"""Three real brokers: clients find the leader, and nothing acknowledged is lost when it is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.replication.brokers import Brokers
from tq import Client


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
        brokers.restart(first)
        ids += [client.submit_task("echo", b"later %d" % number) for number in range(20)]
        assert brokers.running[second].stop() == 0
        ids.append(client.submit_task("echo", b"last"))
        assert [client.get_task(task_id).status for task_id in ids] == ["pending"] * len(ids)
        members = client.cluster().members
        assert sorted(member.node_id for member in members) == ["n1", "n2", "n3"]
    assert brokers.leader() != second
