"""Both clients against the real broker, a small worker of links in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ports import ReservedPort
from lab.processes import broker_address, start_broker
from tests.client.driven import FLAVOURS, Driven
from tq import ids, verbs
from tq.client.link import Link
from tq.client.task import Task
from tq.errors import InvalidStatus, TaskFailed, TaskNotFound
from tq.task import Cause


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_broker(tmp_path_factory.mktemp("broker")) as process:
        yield broker_address(process)


def serve(address: str, task_type: str, count: int) -> None:
    """A worker: takes `count` tasks of this type, answers the payload reversed, or fails for `fail`."""

    async def work() -> None:
        deliveries: asyncio.Queue[verbs.Delivery] = asyncio.Queue()

        def take(push: verbs.Push) -> None:
            if isinstance(push, verbs.Deliver):
                for task in push.tasks:
                    deliveries.put_nowait(task)

        link = await Link.open(address, role="worker", on_push=take)
        await link.request(verbs.Register(ids.new_id(), "w1", ("default",), (task_type,), 10))
        for _ in range(count):
            task = await deliveries.get()
            if task.payload == b"fail":
                item = verbs.SettleItem(task.task_id, task.token, Cause.FATAL, error="it broke")
            else:
                item = verbs.SettleItem(task.task_id, task.token, result=task.payload[::-1])
            await link.request(verbs.Settle((item,)))
        await link.request(verbs.Deregister())
        link.close()
        await link.wait_closed()

    asyncio.run(asyncio.wait_for(work(), 30))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_results_and_failures_of_real_tasks_reach_who_waits(flavour: str, address: str) -> None:
    task_type = f"reverse-{flavour}"
    with Driven(flavour, address) as client:
        task_ids = client.submit_tasks(
            [Task(task_type, b"abc"), Task(task_type, b"fail")] + [Task(task_type, b"x")] * 98
        )
        serve(address, task_type, 100)

        assert client.wait_for_result(task_ids[0], timeout=20) == b"cba"
        assert client.wait_for_results(task_ids[2:], timeout=20) == [b"x"] * 98
        with pytest.raises(TaskFailed, match=r"dead_letter \(fatal\)(.|\n)*it broke"):
            client.wait_for_result(task_ids[1], timeout=20)
        assert client.list_tasks(task_type=task_type, status="completed").total == 99


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_question_and_change_is_understood_by_the_real_broker(
    flavour: str, address: str, tmp_path: Path
) -> None:
    with Driven(flavour, address) as client:
        queue = f"changes-{flavour}"
        task_id = client.submit_task(
            "t", queue=queue, unique_key=queue, unique_ttl="1h", delay="1h", metadata={"a": "b"}
        )
        assert client.submit_task("t", queue=queue, unique_key=queue, unique_ttl="1h") == task_id
        info = client.get_task(task_id, with_payload=True)
        assert (info.status, info.metadata, info.payload) == ("scheduled", {"a": "b"}, b"")
        assert client.cancel_task(task_id) == "cancelled"
        with pytest.raises(InvalidStatus):
            client.cancel_task(task_id)
        with pytest.raises(TaskFailed, match="cancelled"):
            client.wait_for_result(task_id, timeout=20)
        assert client.retry_task(task_id) in ("pending", "scheduled")
        client.pause_queue(queue, "maintenance")
        assert (
            next(each for each in client.stats().queues if each.queue == queue).paused_reason == "maintenance"
        )
        client.resume_queue(queue)
        client.cancel_task(task_id)
        assert client.purge("cancelled", queue=queue) == 1
        with pytest.raises(TaskNotFound):
            client.get_task(task_id)
        assert (
            client.health().status == "healthy" and client.cluster().members and client.workers() is not None
        )
        assert client.backup(str(tmp_path / "copy")).files > 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_clients_and_their_waits_outlive_a_killed_broker(flavour: str, tmp_path: Path) -> None:
    with ReservedPort() as port, start_broker(tmp_path, port=port.number) as first:
        address = broker_address(first)
        with Driven(flavour, address) as client:
            before = client.submit_task("reverse", b"abc")
            first.kill()
            with start_broker(tmp_path, port=port.number) as second:
                broker_address(second)
                after = client.submit_task("reverse", b"xyz")
                serve(address, "reverse", 2)
                assert client.wait_for_results([before, after], timeout=20) == [b"cba", b"zyx"]
