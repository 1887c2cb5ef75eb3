"""What workers and running tasks feel when the leader changes: nothing."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.processes import Process, start_worker, wait_until
from tests.replication.brokers import Brokers
from tests.replication.slow_tasks import VARIABLE
from tq import Client, Task

COUNT = 4
SECONDS = 90.0


def test_running_tasks_are_not_restarted_by_transfer_pause_or_death_of_the_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    payloads = [b"task %d" % number for number in range(COUNT)]
    began = tmp_path / "began"
    began.touch()
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack)
        client = stack.enter_context(Client(brokers.addresses))
        arguments = ("tests.replication.slow_tasks:app", "--concurrency", str(2 * COUNT))
        root = Path(__file__).parents[2]
        worker = stack.enter_context(start_worker(tmp_path, brokers.addresses, *arguments, python_path=root))
        ids = client.submit_tasks([Task("slow", payload, timeout=120) for payload in payloads])
        wait_until(
            lambda: len(began.read_bytes().splitlines()) == COUNT or None, SECONDS, what=worker.log_tail
        )

        second = brokers.followers()[0]
        assert brokers.ask(second, "POST", "/cluster/transfer", {"node_id": second})[1]["leader"] == second
        until_served_by(worker, brokers.tcp(second))

        os.kill(brokers.running[second].pid, signal.SIGSTOP)
        third = another_leader(brokers, second)
        until_served_by(worker, brokers.tcp(third))
        os.kill(brokers.running[second].pid, signal.SIGCONT)
        brokers.until_role(third, second, "follower")

        brokers.kill(third)
        until_served_by(worker, brokers.tcp(another_leader(brokers, third)))
        (tmp_path / "go").touch()
        assert client.wait_for_results(ids, timeout=SECONDS) == payloads
        assert sorted(began.read_bytes().splitlines()) == payloads
        tasks = [client.get_task(task_id) for task_id in ids]
        assert [(task.status, len(task.attempts)) for task in tasks] == [("completed", 1)] * COUNT


def until_served_by(worker: Process, address: str) -> None:
    """Wait until the worker has registered at this node."""

    def is_there() -> bool | None:
        found = [event for event in worker.events() if event.get("event") in ("ready", "reconnected")]
        return (bool(found) and found[-1]["address"] == address) or None

    wait_until(is_there, SECONDS, what=worker.log_tail)


def another_leader(brokers: Brokers, than: str) -> str:
    def leads() -> str | None:
        name = brokers.leader()
        return name if name != than else None

    return wait_until(leads, SECONDS, what=lambda: f"another leader than {than}")
