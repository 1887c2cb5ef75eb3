"""Calls about the whole: who asks, the last hour, failures, dead letters, many tasks, draining; against a real broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rest.serving import TASKS, Running, run, running
from tq.ids import new_id, to_text
from tq.task import Cause
from tq.verbs import Deliver, Drain, Register, Registered, Settle, SettleItem


async def failed(broker: Running, error: str, count: int = 1) -> list[str]:
    """Tasks that failed for good with this error."""
    ids = [await broker.submit(queue="failing") for _ in range(count)]
    worker = await broker.dial()
    assert isinstance(await worker.ask(Register(new_id(), "w1", ("failing",), ("t",), count)), Registered)
    left = count
    while left:
        push = await worker.next_push()
        assert isinstance(push, Deliver)
        items = tuple(
            SettleItem(task.task_id, task.token, int(Cause.FATAL), error=error) for task in push.tasks
        )
        await worker.ask(Settle(items))
        left -= len(items)
    return ids


async def get(broker: Running, path: str) -> Any:
    answer = await broker.http.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def known(minutes: list[int | None]) -> int:
    """The sum of the last minutes of which something is known: the minute may have turned since it happened."""
    return sum(minute or 0 for minute in minutes[-3:])


async def post(broker: Running, path: str, body: object = None) -> Any:
    answer = await broker.http.post(f"/api/v1{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_who_asks_may_do_everything_while_keys_are_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            me = await get(broker, "/me")

        assert (me["name"], me["keys_on"], me["node_id"]) == ("anonymous", False, "node1")
        assert len(me["permissions"]) == 5

    run(scenario())


def test_the_last_hour_failures_groups_and_queues_are_documents(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            (task_id,) = await failed(broker, "no host 10.0.0.7")
            series = await get(broker, "/series")
            failures = (await get(broker, "/failures?limit=5"))["failures"]
            found = await get(broker, "/dead-letters")
            (queue,) = (await get(broker, "/queues"))["queues"]

        assert len(series["submitted"]) == len(series["depth"]["high"]) == 60
        assert [known(series[name]) for name in ("submitted", "failed")] == [1, 1]
        assert series["submitted"][0] is None
        assert [(one["task_id"], one["outcome"], one["status"]) for one in failures] == [
            (task_id, "fatal", "dead_letter")
        ]
        assert (found["total"], found["scanned"], found["complete"]) == (1, 1, True)
        (group,) = found["groups"]
        assert (group["count"], group["sample_task_id"]) == (1, task_id)
        assert queue["task_types"] == [{"task_type": "t", "pending": 0, "workers": 1}]

    run(scenario())


def test_tasks_of_a_group_are_listed_retried_and_deleted_in_steps(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            ids = await failed(broker, "gone 1", 3)
            for peer in broker.dialled:
                peer.writer.transport.abort()
            (group,) = (await get(broker, "/dead-letters"))["groups"]
            print_ = group["fingerprint"]
            page = await get(broker, f"/tasks?fingerprint={print_}&with_result=false")
            assert [one["task_id"] for one in page["tasks"]] == ids[::-1]
            body = {"filter": {"fingerprint": print_}, "limit": 2, "max_retries": 7}
            first = await post(broker, "/tasks/bulk/retry", body)
            assert (first["done"], first["skipped"]) == (2, 0)
            last = await post(
                broker, "/tasks/bulk/delete", {"filter": {"status": "dead_letter"}, "cursor": None}
            )
            assert last == {"done": 1, "skipped": 0, "next_cursor": None}
            done = await post(broker, "/tasks/bulk/cancel", {"task_ids": ids[1:]})
            assert done == {"done": 2, "skipped": 0, "next_cursor": None}

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("cancel", {}, "task_ids"),
        ("cancel", {"task_ids": [], "filter": None}, "task_ids"),
        ("retry", {"task_ids": [to_text(bytes(16))], "filter": {}}, "task_ids"),
        ("cancel", {"filter": {"fingerprint": "00ff"}}, "filter.fingerprint"),
        ("retry", {"filter": {}, "limit": 1_001}, "limit"),
        ("delete", {"filter": {"status": "pending"}}, "status"),
        ("delete", {"filter": {}, "cursor": "x"}, "cursor"),
        ("delete", {"filter": {"state": 1}}, "filter.state"),
    ],
    ids=["nothing", "empty", "both", "cancel-dead", "limit", "status", "cursor", "unknown"],
)
def test_a_change_of_many_that_is_not_clear_is_refused(
    tmp_path: Path, path: str, body: object, told: str
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            answer = await broker.http.post(f"/api/v1/tasks/bulk/{path}", json=body)

        assert answer.status_code == 400
        assert answer.json()["error"].startswith(told)

    run(scenario())


def test_lists_go_the_other_way_and_by_worker(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            ids = [await broker.submit() for _ in range(3)]
            await broker.work(settle=False)
            oldest = await get(broker, "/tasks?order=oldest&limit=2")
            rest = await get(broker, f"/tasks?order=oldest&limit=2&cursor={oldest['next_cursor']}")
            held = await get(broker, "/tasks?worker_id=w1")

        assert [one["task_id"] for one in oldest["tasks"] + rest["tasks"]] == ids
        assert rest["next_cursor"] is None
        assert [one["task_id"] for one in held["tasks"]] == [ids[0]]

    run(scenario())


def test_a_result_is_left_out_on_demand_and_its_length_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit()
            await broker.work()
            whole = await get(broker, f"{TASKS.removeprefix('/api/v1')}/{task_id}")
            lean = await get(broker, f"{TASKS.removeprefix('/api/v1')}/{task_id}?with_result=false")

        assert (whole["result_bytes"], lean["result_bytes"], lean["result"]) == (4, 4, None)

    run(scenario())


def test_a_worker_is_drained_by_its_id_or_its_sessions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            worker = await broker.dial()
            session = new_id()
            await worker.ask(Register(session, "w1", ("default",), ("t",), 1))
            for name in ("w1", to_text(session)):
                found = await post(broker, f"/workers/{name}/drain")
                assert found == {"worker": name, "sessions": [to_text(session)], "status": "draining"}
            assert isinstance(await worker.next_push(), Drain)
            unknown = await broker.http.post("/api/v1/workers/w2/drain")

        assert (unknown.status_code, unknown.json()["code"]) == (404, "WORKER_NOT_FOUND")

    run(scenario())
