"""Calls that look: pages that hold still while tasks move, waits that a push ends, counts and members."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.rest.serving import TASKS, request_bytes, run, running, scripted
from tq.ids import new_id, to_text
from tq.task import PENDING, TaskView
from tq.verbs import GetTask, TaskEnded, Watch, Watching

VIEW = TaskView(bytes(16), "t", "default", PENDING, "", 150, 1, 1, 0, 1_000, 3, 0, "")


def test_pages_of_a_cursor_show_every_task_once_while_tasks_move(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            ids = [await broker.submit() for _ in range(30)]
            seen: list[str] = []
            cursor = ""
            while True:
                page = (await broker.http.get(f"{TASKS}?limit=7{cursor}")).json()
                seen += [task["task_id"] for task in page["tasks"]]
                if page["next_cursor"] is None:
                    break
                cursor = f"&cursor={page['next_cursor']}"
                # What was shown moves on, what is yet to come moves too, and new ones arrive in front.
                await broker.http.delete(f"{TASKS}/{seen[-1]}")
                await broker.http.delete(f"{TASKS}/{ids[0]}")
                await broker.submit()

        assert seen == ids[::-1]

    run(scenario())


def test_lists_are_narrowed_by_status_type_and_queue_and_count_what_matches(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            wanted = await broker.submit(queue="mail")
            await broker.submit(queue="mail", task_type="u")
            await broker.submit()
            await broker.http.delete(f"{TASKS}/{await broker.submit(queue='mail')}")
            found = await broker.http.get(f"{TASKS}?status=pending&task_type=t&queue=mail")

        page = found.json()
        assert [task["task_id"] for task in page["tasks"]] == [wanted]
        assert {name: page[name] for name in ("total", "limit", "offset", "next_cursor")} == {
            "total": 1,
            "limit": 100,
            "offset": 0,
            "next_cursor": None,
        }
        assert page["tasks"][0]["payload_bytes"] is None, "a length nobody looked at"

    run(scenario())


def test_offset_skips(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            ids = [await broker.submit() for _ in range(3)]
            page = (await broker.http.get(f"{TASKS}?limit=1&offset=1")).json()

        assert ([task["task_id"] for task in page["tasks"]], page["total"], page["offset"]) == (
            [ids[1]],
            3,
            1,
        )

    run(scenario())


QUERIES = (
    "",
    "status=pending&limit=2",
    "status=failed",
    "queue=a+b&task_type=%C3%A4",
    "queue=&task_type=",
    "order=oldest&with_result=false&consistency=local",
    "cursor=2&limit=1",
    "limit=2&limit=3",
    "limit=+5",
    "limit=1001",
    "cursor=0",
    "with_result=yes",
    "colour=red",
    "queue=%00",
)


def test_the_list_is_the_same_past_fastapi_and_through_it(tmp_path: Path) -> None:
    """HEAD takes no shortcut, and says everything about the body but the body."""
    past, through = {}, {}

    async def scenario() -> None:
        async with running(tmp_path) as broker:
            for queue, kind in (("a b", "ä"), ("default", "t"), ("default", "t")):
                await broker.submit(queue=queue, task_type=kind)
            for query in QUERIES:
                for method, found in (("GET", past), ("HEAD", through)):
                    answer = await broker.http.request(method, f"{TASKS}?{query}")
                    found[query] = answer.status_code, answer.headers["content-length"]

    run(scenario())
    assert past == through
    assert {status for status, _ in past.values()} == {200, 400}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1_0", "limit"),
        ("offset=-1", "offset"),
        ("status=done", "status"),
        ("cursor=x", "cursor"),
        ("cursor=0", "cursor"),
        ("colour=red", "colour"),
    ],
)
def test_wrong_parameter_is_named(query: str, name: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.get(f"{TASKS}?{query}")

        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
        assert answer.json()["error"].startswith(f"{name}: ")

    run(scenario())


def test_a_wait_ends_with_the_task(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            task_id = await broker.submit()
            waiting = asyncio.ensure_future(broker.http.get(f"{TASKS}/{task_id}?wait=60"))
            await broker.work()
            shown = (await waiting).json()

        assert shown["status"] == "completed"

    run(scenario())


def test_a_wait_for_an_unknown_task_ends_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            answer = await broker.http.get(f"{TASKS}/{to_text(new_id())}?wait=60")

        assert (answer.status_code, answer.json()["code"]) == (404, "TASK_NOT_FOUND")

    run(scenario())


def test_a_wait_whose_time_is_up_shows_the_task_as_it_is() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies[GetTask] = VIEW
            answer = await door.http.get(f"{TASKS}/{to_text(new_id())}?wait=1")

            assert answer.json()["status"] == "pending"
            assert [type(verb) for verb in door.backend.seen] == [Watch, GetTask]
            assert door.backend.gone == door.backend.peers[:1]

    run(scenario())


def test_a_wait_is_woken_by_the_push_and_asks_only_then() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies[GetTask] = VIEW
            waiting = asyncio.ensure_future(door.http.get(f"{TASKS}/{to_text(new_id())}?wait=60"))
            await door.until(lambda: door.backend.peers)
            assert [type(verb) for verb in door.backend.seen] == [Watch]

            door.backend.peers[0].push(TaskEnded((VIEW,)))

            assert (await waiting).status_code == 200
            assert [type(verb) for verb in door.backend.seen] == [Watch, GetTask]

    run(scenario())


def test_a_task_that_ended_before_the_wait_is_shown_at_once() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies |= {GetTask: VIEW, Watch: Watching(ended=(VIEW,))}

            assert (await door.http.get(f"{TASKS}/{to_text(new_id())}?wait=60")).status_code == 200

    run(scenario())


def test_a_client_that_hangs_up_while_it_waits_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            _, writer = await door.dial()
            writer.write(request_bytes("GET", f"{TASKS}/{to_text(new_id())}?wait=60"))
            await door.until(lambda: door.backend.peers)

            writer.close()

            await door.until(lambda: door.backend.gone == door.backend.peers)
            await door.until(lambda: not door.door.state.tasks)

    run(scenario())


def test_a_broker_that_stops_lets_nobody_wait() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            waiting = asyncio.ensure_future(door.http.get(f"{TASKS}/{to_text(new_id())}?wait=60"))
            await door.until(lambda: door.backend.peers)

            door.door.stop_accepting()

            answer = await waiting
            assert (answer.status_code, answer.json()["code"]) == (503, "BROKER_UNAVAILABLE")

    run(scenario())


def test_stats_workers_cluster_and_queues_tell_of_the_broker(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            await broker.submit(queue="mail", priority="low")
            await broker.submit()
            await broker.work(settle=False)
            stats = (await broker.http.get("/api/v1/stats")).json()
            workers = (await broker.http.get("/api/v1/workers")).json()["workers"]
            cluster = (await broker.http.get("/api/v1/cluster")).json()
            queues = (await broker.http.get("/api/v1/queues")).json()["queues"]

        assert (stats["pending_count"], stats["in_progress_count"], stats["worker_count"]) == (1, 1, 1)
        assert stats["queue_depth_by_priority"] == {"high": 0, "normal": 0, "low": 1}
        assert [(worker["worker_id"], len(worker["tasks"])) for worker in workers] == [("w1", 1)]
        assert [member["role"] for member in cluster["members"]] == ["standalone"]
        assert [queue["queue"] for queue in queues] == ["default", "mail"]

    run(scenario())


@pytest.mark.parametrize("queue", ["mail", "a/b", "ä ö"])
def test_a_queue_is_paused_with_its_reason_and_resumed(tmp_path: Path, queue: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            address = f"/api/v1/queues/{queue.replace('/', '%2F')}"
            paused = await broker.http.post(f"{address}/pause", json={"reason": "night"})
            shown = (await broker.http.get("/api/v1/queues")).json()["queues"]
            resumed = await broker.http.post(f"{address}/resume")
            after = (await broker.http.get("/api/v1/queues")).json()["queues"]

        assert (paused.json(), resumed.json()) == (
            {"queue": queue, "paused": True},
            {"queue": queue, "paused": False},
        )
        assert [(each["queue"], each["paused_reason"]) for each in shown] == [(queue, "night")]
        assert after == []

    run(scenario())


def test_purge_forgets_tasks_of_one_status(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            for _ in range(3):
                await broker.http.delete(f"{TASKS}/{await broker.submit()}")
            kept = await broker.submit()
            first = await broker.http.post(f"{TASKS}/purge", json={"status": "cancelled", "limit": 2})
            second = await broker.http.post(f"{TASKS}/purge", json={"status": "cancelled"})
            left = (await broker.http.get(TASKS)).json()["tasks"]

        assert (first.json(), second.json()) == ({"purged": 2, "more": True}, {"purged": 1, "more": False})
        assert [task["task_id"] for task in left] == [kept]

    run(scenario())


@pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/livez", "/readyz"])
def test_probes_are_well_and_a_broker_that_stops_is_not(path: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            well = await door.http.get(path)
            head = await door.http.head(path)
            door.parts.stopping.set()
            stopping = await door.http.get(path)

        assert (well.status_code, head.status_code, head.content) == (200, 200, b"")
        assert stopping.status_code == (200 if path == "/livez" else 503)

    run(scenario())


def test_metrics_are_what_the_exporter_renders() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.get("/metrics")

        assert (answer.status_code, answer.text) == (200, "up 1\n")

    run(scenario())
