"""Workers written from taskqueue.proto alone, in Python and in Node, against a real broker, before and after its restart."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from lab.ports import ReservedPort
from lab.processes import Process, start_broker, wait_until
from tq.proto import taskqueue_pb2 as pb
from tq.proto import taskqueue_pb2_grpc as stubs

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0


class Foreign(NamedTuple):
    """How to start a worker, without its last argument, the address; and what it does: task type -> (input, result)."""

    command: tuple[str, ...]
    work: dict[str, tuple[bytes, bytes]]


def python_worker() -> Foreign:
    command = (sys.executable, "-m", "examples.grpc_worker")
    return Foreign(command, {"upper": (b"abc", b"ABC"), "sum": (b"[1, 2, 3]", b"6")})


def node_worker() -> Foreign:
    node = shutil.which("node") or shutil.which("nodejs")
    assert node, "this test needs Node (Debian: apt install nodejs npm)"
    directory = ROOT / "examples" / "node"
    assert (directory / "node_modules" / "@grpc" / "grpc-js").is_dir(), "run `make node` first"
    command = (node, str(directory / "worker.js"))
    return Foreign(command, {"reverse": (b"abc", b"cba"), "length": (b"12345", b"5")})


@contextmanager
def channel_to(broker: Process) -> Iterator[tuple[stubs.TaskQueueStub, str]]:
    addresses = broker.wait_for_event("ready")["addresses"]
    assert isinstance(addresses, dict)
    with grpc.insecure_channel(addresses["grpc"]) as channel:
        yield stubs.TaskQueueStub(channel), addresses["grpc"]  # type: ignore[no-untyped-call]


def results(queue: stubs.TaskQueueStub, work: dict[str, tuple[bytes, bytes]], count: int) -> list[bytes]:
    """Submit count tasks, in turns of every type, and return their results in order."""
    kinds = sorted(work)
    tasks = [
        pb.TaskSpec(task_type=kinds[number % len(kinds)], payload=work[kinds[number % len(kinds)]][0])
        for number in range(count)
    ]
    submitted = queue.SubmitTasks(pb.SubmitTasksRequest(tasks=tasks)).tasks
    ended = [
        queue.GetTaskStatus(
            pb.GetTaskStatusRequest(task_id=task.task_id, wait_seconds=WAIT_S), timeout=WAIT_S
        )
        for task in submitted
    ]
    return [task.result for task in ended]


@pytest.mark.parametrize("language", [python_worker, node_worker], ids=["python", "node"])
def test_worker_completes_tasks_and_survives_a_restart_of_the_broker(
    language: object, tmp_path: Path
) -> None:
    assert callable(language)
    foreign: Foreign = language()
    kinds = sorted(foreign.work)
    expected = [foreign.work[kinds[number % len(kinds)]][1] for number in range(50)]

    with (
        ReservedPort() as port,
        start_broker(tmp_path, "--grpc-port", str(port.number)) as broker,
        channel_to(broker) as (queue, address),
    ):
        worker = Process([*foreign.command, address], log_path=tmp_path / "worker.log", directory=ROOT)
        with worker:
            first = results(queue, foreign.work, 50)
            failing = queue.SubmitTask(
                pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="sum", payload=b"x", max_retries=0))
            )
            broker.stop()
            with (
                start_broker(
                    tmp_path, "--grpc-port", str(port.number), log_path=tmp_path / "again.log"
                ) as again,
                channel_to(again) as (queue, _),
            ):
                second = results(queue, foreign.work, 50)
                stats = queue.GetStats(pb.GetStatsRequest())
                if "sum" in foreign.work:
                    wait_until(
                        lambda: (
                            queue.GetTaskStatus(pb.GetTaskStatusRequest(task_id=failing.task_id)).status
                            == pb.TASK_STATUS_DEAD_LETTER
                        ),
                        WAIT_S,
                        what=lambda: "the task that fails did not end",
                    )

            assert first == second == expected
            assert stats.worker_count == 1
            assert json.dumps(worker.log_tail()) == '""', "it had nothing to complain of"


@pytest.mark.parametrize("path", ["grpc_worker.py", "node/worker.js"])
def test_a_worker_takes_no_more_than_sixty_lines(path: str) -> None:
    text = (ROOT / "examples" / path).read_text()
    lines = (line.strip() for line in text.rpartition('"""')[2].splitlines())

    assert len([line for line in lines if line and not line.startswith("//")]) <= 60
