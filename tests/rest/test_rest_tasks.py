"""Calls that make tasks and change them, against a whole broker."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from tests.rest.serving import TASKS, run, running
from tq.ids import from_text, new_id, to_text


def test_submit_answers_201_and_the_same_id_again_200_with_the_task_that_exists(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task = {"task_type": "t", "task_id": to_text(new_id())}
            first = await broker.http.post(TASKS, json=task)
            again = await broker.http.post(TASKS, json=task)

        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert first.json().keys() == {"task_id", "status", "created_at"}
        assert (first.json()["task_id"], first.json()["status"]) == (task["task_id"], "pending")
        assert first.headers["location"] == f"{TASKS}/{task['task_id']}"

    run(scenario())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"payload": "aGVsbG8="}, b"hello"),
        ({"payload": None}, b""),
        ({}, b""),
        ({"payload_json": {"a": [1, 2.5, "ä", None]}}, '{"a":[1,2.5,"ä",null]}'.encode()),
        ({"payload_json": None}, b"null"),
    ],
    ids=["base64", "null", "none", "json", "json null"],
)
def test_payload_is_kept_as_it_was_given(tmp_path: Path, given: dict[str, object], kept: bytes) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit(**given)
            shown = (await broker.http.get(f"{TASKS}/{task_id}?with_payload=true")).json()
            without = (await broker.http.get(f"{TASKS}/{task_id}")).json()

        assert shown["payload"] == b64encode(kept).decode()
        assert (without["payload"], without["payload_bytes"]) == (None, len(kept))

    run(scenario())


def test_every_field_of_a_task_is_shown_as_it_was_given(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            other = await broker.submit()
            given = {
                "queue": "mail",
                "priority": "high",
                "schedule_at": "2035-06-01T12:00:00+02:00",
                "timeout_seconds": 1.5,
                "max_retries": 7,
                "retry": {
                    "strategy": "custom",
                    "base_seconds": 2,
                    "factor": 3,
                    "cap_seconds": 60,
                    "jitter": 0.5,
                    "delays_seconds": [1, 2.5],
                },
                "dependencies": [other],
                "expires_at": "2036-01-01T00:00:00",
                "unique_key": "k",
                "unique_ttl": 60,
                "metadata": {"a": "b"},
            }
            shown = (await broker.http.get(f"{TASKS}/{await broker.submit(**given)}")).json()

        expected = given | {
            "priority": 200,
            "schedule_at": "2035-06-01T10:00:00.000Z",
            "expires_at": "2036-01-01T00:00:00.000Z",
            "status": "blocked",
        }
        del expected["unique_ttl"]
        assert {name: shown[name] for name in expected} == expected

    run(scenario())


def test_batch_keeps_the_order_of_a_thousand_tasks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            tasks = [{"task_type": f"t{number}"} for number in range(1_000)]
            answer = await broker.http.post(f"{TASKS}/batch", json={"tasks": tasks})
            last = (await broker.http.get(f"{TASKS}/{answer.json()['task_ids'][999]}")).json()

        assert answer.status_code == 201
        assert len(set(answer.json()["task_ids"])) == 1_000
        assert last["task_type"] == "t999"

    run(scenario())


def test_batch_with_one_wrong_task_submits_none_and_names_every_wrong_field(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            tasks = [{"task_type": "t"}, {"task_type": "t", "priority": 256}, {"queue": 5, "wrong": 1}]
            answer = await broker.http.post(f"{TASKS}/batch", json={"tasks": tasks})
            total = (await broker.http.get(TASKS)).json()["total"]

        assert (answer.status_code, answer.json()["code"], total) == (400, "BAD_REQUEST", 0)
        for name in ("tasks[1].priority", "tasks[2].task_type", "tasks[2].queue", "tasks[2].wrong"):
            assert name in answer.json()["error"]

    run(scenario())


def test_batch_of_too_many_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            tasks = [{"task_type": "t"}] * 1_001
            answer = await broker.http.post(f"{TASKS}/batch", json={"tasks": tasks})

        assert answer.status_code == 400
        assert answer.json()["error"].startswith("tasks: ")

    run(scenario())


def test_batch_says_which_tasks_existed_and_under_which_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            holder = await broker.submit(unique_key="k")
            tasks = [{"task_type": "t"}, {"task_type": "t", "unique_key": "k"}]
            mixed = await broker.http.post(f"{TASKS}/batch", json={"tasks": tasks})
            again = await broker.http.post(f"{TASKS}/batch", json={"tasks": tasks[1:]})

        assert (mixed.status_code, mixed.json()["existing"]) == (201, [1])
        assert mixed.json()["task_ids"][1] == holder
        assert (again.status_code, again.json()) == (200, {"task_ids": [holder], "existing": [0]})

    run(scenario())


def test_a_waiting_task_is_cancelled_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit()
            first = await broker.http.delete(f"{TASKS}/{task_id}")
            again = await broker.http.delete(f"{TASKS}/{task_id}")

        assert (first.status_code, first.content) == (204, b"")
        assert (again.status_code, again.json()["code"]) == (409, "INVALID_STATUS")

    run(scenario())


def test_a_running_task_is_cancelled_only_by_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit()
            await broker.work(settle=False)
            refused = await broker.http.delete(f"{TASKS}/{task_id}")
            forced = await broker.http.delete(f"{TASKS}/{task_id}?force=true")
            shown = (await broker.http.get(f"{TASKS}/{task_id}")).json()

        assert (refused.status_code, refused.json()["code"]) == (409, "INVALID_STATUS")
        assert (forced.status_code, shown["status"]) == (204, "cancelled")

    run(scenario())


def test_a_cancelled_task_is_retried_with_more_retries_and_a_pending_one_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit(max_retries=1)
            early = await broker.http.post(f"{TASKS}/{task_id}/retry")
            await broker.http.delete(f"{TASKS}/{task_id}")
            retried = await broker.http.post(f"{TASKS}/{task_id}/retry", json={"max_retries": 9})
            shown = (await broker.http.get(f"{TASKS}/{task_id}")).json()

        assert (early.status_code, early.json()["code"]) == (409, "INVALID_STATUS")
        assert (retried.status_code, retried.json()) == (200, {"task_id": task_id, "status": "pending"})
        assert (shown["status"], shown["max_retries"]) == ("pending", 9)

    run(scenario())


def test_a_result_is_shown_in_base64_with_its_attempt(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit()
            await broker.work()
            shown = (await broker.http.get(f"{TASKS}/{task_id}?wait=10")).json()

        assert (shown["status"], shown["result"]) == ("completed", b64encode(b"done").decode())
        assert [(run["worker_id"], run["outcome"]) for run in shown["attempts"]] == [("w1", "done")]

    run(scenario())


def test_ids_are_taken_in_every_form_a_uuid_has(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit()
            bare = await broker.http.get(f"{TASKS}/{from_text(task_id).hex().upper()}")

        assert bare.json()["task_id"] == task_id

    run(scenario())
