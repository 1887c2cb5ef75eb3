"""Three real brokers: any node takes any client, whichever door it comes through."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from lab.processes import start_worker, wait_until
from tests.replication.brokers import ANSWER_SECONDS, Brokers
from tq.ids import new_id, to_text
from tq.proto import stackduck_pb2 as sd
from tq.proto import taskqueue_pb2 as pb
from tq.proto.stackduck_pb2_grpc import StackDuckServiceStub
from tq.proto.taskqueue_pb2_grpc import TaskQueueStub

TASK = {"task_type": "echo", "payload": "aGk=", "queue": "nobody"}


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with ExitStack() as stack:
        cluster = Brokers(tmp_path_factory.mktemp("cluster"), stack)
        cluster.leader()
        yield cluster


def test_rest_writes_and_reads_are_answered_alike_by_every_node(brokers: Brokers) -> None:
    leader, follower = brokers.leader(), brokers.followers()[0]
    for number, name in enumerate(brokers.running):
        task_id = to_text(new_id())
        status, made = brokers.ask(name, "POST", "/tasks", {**TASK, "task_id": task_id})
        assert (status, made["task_id"]) == (201, task_id)
        assert brokers.ask(name, "POST", "/tasks", {**TASK, "task_id": task_id})[0] == 200
        for other in brokers.running:
            assert brokers.ask(other, "GET", f"/tasks/{task_id}")[1]["status"] == "pending"
            assert brokers.ask(other, "GET", "/stats")[1]["pending_count"] == number + 1
    assert brokers.ask(follower, "DELETE", f"/tasks/{task_id}")[0] == 204
    assert brokers.ask(follower, "DELETE", f"/tasks/{task_id}")[0] == 409
    assert brokers.ask(leader, "GET", f"/tasks/{task_id}")[1]["status"] == "cancelled"
    assert brokers.ask(follower, "GET", "/tasks?queue=nobody")[1]["total"] == 3


@pytest.mark.parametrize("consistency", ["local", "leader", "linearizable"])
def test_every_consistency_is_served_by_every_node(brokers: Brokers, consistency: str) -> None:
    leader, follower = brokers.leader(), brokers.followers()[0]
    _, made = brokers.ask(leader, "POST", "/tasks", {**TASK, "queue": f"q-{consistency}"})

    def seen(name: str) -> bool:
        path = f"/tasks/{made['task_id']}?consistency={consistency}"
        return bool(brokers.ask(name, "GET", path)[0] == 200)

    assert seen(leader)
    if consistency == "local":
        # What the follower has not applied yet it does not know; that comes with the next heartbeat.
        wait_until(lambda: seen(follower) or None, ANSWER_SECONDS, what=lambda: "the follower applies it")
    else:
        assert seen(follower)
    assert brokers.ask(follower, "GET", f"/stats?consistency={consistency}")[0] == 200
    assert brokers.ask(follower, "GET", f"/tasks?consistency={consistency}")[0] == 200


def test_every_node_shows_its_raft_metrics_and_the_leader_how_far_the_others_are(brokers: Brokers) -> None:
    def in_one_term() -> dict[str, dict[str, str]] | None:
        """What they all show; None while they elect, as nodes of a busy machine may any time."""
        found = {name: raft_metrics(brokers, name) for name in brokers.running}
        terms = {values["tq_raft_term"] for values in found.values()}
        return found if len(terms) == 1 and leading(found) else None

    def leading(found: dict[str, dict[str, str]]) -> list[str]:
        return [name for name, values in found.items() if float(values["tq_raft_leader"])]

    found = wait_until(in_one_term, ANSWER_SECONDS, what=lambda: "one term with a leader")
    (leader,) = leading(found)
    for name, values in found.items():
        assert float(values["tq_raft_term"]) >= 1
        assert float(values["tq_raft_commit_index"]) >= 1
        lags = {key for key in values if key.startswith("tq_raft_follower_lag_entries")}
        others = {
            f'tq_raft_follower_lag_entries{{node="{each}"}}' for each in brokers.running if each != leader
        }
        assert lags == (others if name == leader else set())


def raft_metrics(brokers: Brokers, name: str) -> dict[str, str]:
    """Sample, labels included -> value."""
    with urlopen(f"http://{brokers.door(name, 'rest')}/metrics", timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        page = answer.read().decode()
    return dict(re.findall(r"^(tq_raft_\w+(?:{[^}]*})?) (\S+)$", page, re.MULTILINE))


def test_grpc_worker_at_a_follower_gets_its_tasks_and_ends_them(brokers: Brokers) -> None:
    follower = brokers.followers()[0]
    with grpc.insecure_channel(brokers.door(follower, "grpc")) as channel:
        stub = TaskQueueStub(channel)
        made = stub.SubmitTask(pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="over-grpc", payload=b"x")))
        requests: list[pb.WorkRequest] = []
        more = threading.Semaphore(0)

        def say(request: pb.WorkRequest) -> None:
            requests.append(request)
            more.release()

        def said() -> Iterator[pb.WorkRequest]:
            while more.acquire(timeout=30):
                yield requests.pop(0)

        say(
            pb.WorkRequest(
                register=pb.Register(
                    session_id=to_text(new_id()),
                    worker_id="w",
                    queues=["default"],
                    task_types=["over-grpc"],
                    capacity=1,
                )
            )
        )
        stream = stub.Work(said(), timeout=30)
        for message in stream:
            for task in message.deliveries:
                say(
                    pb.WorkRequest(
                        settlements=[pb.Settlement(task_id=task.task_id, token=task.token, result=b"y")]
                    )
                )
            status = stub.GetTaskStatus(pb.GetTaskStatusRequest(task_id=made.task_id, wait_seconds=10))
            if status.status == pb.TASK_STATUS_COMPLETED:
                break
        stream.cancel()
        assert status.result == b"y"


def test_grpc_updates_at_a_follower_tell_what_happens_through_the_leader(brokers: Brokers) -> None:
    leader, follower = brokers.leader(), brokers.followers()[0]
    task_id = brokers.ask(leader, "POST", "/tasks", TASK)[1]["task_id"]
    with grpc.insecure_channel(brokers.door(follower, "grpc")) as channel:
        stream = TaskQueueStub(channel).StreamTaskUpdates(
            pb.StreamTaskUpdatesRequest(task_id=task_id), timeout=30
        )
        assert next(stream).status == pb.TASK_STATUS_PENDING
        assert brokers.ask(leader, "DELETE", f"/tasks/{task_id}")[0] == 204
        assert [update.status for update in stream] == [pb.TASK_STATUS_CANCELLED]


def test_stackducks_calls_at_a_follower_enqueue_dequeue_and_complete(brokers: Brokers) -> None:
    follower, other = brokers.followers()
    with (
        grpc.insecure_channel(brokers.door(follower, "grpc")) as here,
        grpc.insecure_channel(brokers.door(other, "grpc")) as there,
    ):
        duck = StackDuckServiceStub(here)
        made = StackDuckServiceStub(there).EnqueueJob(
            sd.EnqueueJobRequest(job_type="email", payload='{"to": "a"}'), timeout=30
        )
        assert made.success, made.error_message
        taken = duck.DequeueJob(sd.DequeueJobRequest(queue_name="email", worker_id="w"), timeout=30)
        assert (taken.success, taken.job.id) == (True, made.job_id)
        assert duck.CompleteJob(sd.CompleteJobRequest(job_id=made.job_id), timeout=30).success
    assert brokers.ask(other, "GET", f"/tasks/{made.job_id}")[1]["status"] == "completed"


def test_waits_and_writes_at_a_follower_live_through_the_death_of_the_leader(
    brokers: Brokers, tmp_path: Path
) -> None:
    leader, (first, second) = brokers.leader(), brokers.followers()
    _, made = brokers.ask(first, "POST", "/tasks", {"task_type": "echo", "payload": "aGk="})
    found: list[object] = []
    waiter = threading.Thread(
        target=lambda: found.append(brokers.ask(first, "GET", f"/tasks/{made['task_id']}?wait=25")[1])
    )
    waiter.start()
    brokers.kill(leader)
    ids = [to_text(new_id()) for _ in range(10)]
    statuses = [
        brokers.ask(name, "POST", "/tasks", {**TASK, "queue": "after", "task_id": task_id})[0]
        for task_id in ids
        for name in (first, second)
    ]
    # Twice each: the second time it was there already, and never twice in the queue.
    assert sorted(set(statuses)) == [200, 201]
    assert brokers.ask(second, "GET", "/tasks?queue=after")[1]["total"] == len(ids)
    with start_worker(tmp_path, brokers.addresses):
        waiter.join(30)
    assert [task["status"] for task in found] == ["completed"]  # type: ignore[index]
    brokers.restart(leader)


def test_node_that_hears_no_leader_says_that_it_is_degraded_and_still_shows_what_it_has(
    brokers: Brokers,
) -> None:
    leader, (first, second) = brokers.leader(), brokers.followers()
    _, made = brokers.ask(leader, "POST", "/tasks", {**TASK, "queue": "alone"})
    path = f"/tasks/{made['task_id']}?consistency=local"
    wait_until(
        lambda: brokers.ask(second, "GET", path)[0] == 200 or None,
        ANSWER_SECONDS,
        what=lambda: "it is applied",
    )
    wait_until(
        lambda: brokers.ask(second, "GET", "/health")[1]["leader"] == brokers.leader() or None,
        ANSWER_SECONDS,
        what=lambda: "who leads",
    )
    brokers.kill(leader)
    brokers.kill(first)
    health = wait_until(
        lambda: (now := brokers.ask(second, "GET", "/health"))[0] == 503 and now[1] or None,
        ANSWER_SECONDS,
        what=lambda: "degraded",
    )
    assert (health["status"], health["leader"]) == ("degraded", None)
    assert brokers.ask(second, "GET", path)[1]["status"] == "pending"
    status, refused = brokers.ask(second, "POST", "/tasks", TASK)
    assert (status, refused["code"], refused["outcome"]) == (503, "BROKER_UNAVAILABLE", "unavailable")
    assert brokers.members(second)[leader]["role"] == "unreachable"
    brokers.restart(leader)
    brokers.restart(first)
