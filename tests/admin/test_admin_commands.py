"""The commands of `tq-admin` against a real broker with a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.processes import broker_address, start_broker, start_worker, wait_until
from tests.admin.running import COMMAND_SECONDS_MAX, Admin
from tests.replication.slow_tasks import VARIABLE
from tq.ids import new_id, to_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One broker and one worker for all the tests of this file; each test uses queues of its own."""
    directory = tmp_path_factory.mktemp("admin")
    with start_broker(directory) as broker:
        where = broker_address(broker)
        with start_worker(
            directory, where, "--concurrency", "2", "--queues", "default", "--heartbeat-interval", "1"
        ) as worker:
            worker.wait_for_event("ready")
            yield where


@pytest.fixture
def admin(address: str) -> Admin:
    return Admin(address)


# ---------------------------------------------------------------- tasks


def test_a_submitted_task_can_be_looked_at_with_the_rest_names(admin: Admin) -> None:
    submitted = admin.document(
        "submit", "--type", "t", "--payload", "hi", "--priority", "high", "--queue", "look"
    )

    assert set(submitted) == {"task_id", "status", "created_at"}
    task = admin.document("status", submitted["task_id"])
    assert (task["queue"], task["priority"], task["payload"], task["status"]) == (
        "look",
        200,
        "aGk=",
        "pending",
    )
    assert "look" in task["state_reason"]


def test_submit_waits_for_the_result(admin: Admin) -> None:
    done = admin.run("submit", "--type", "echo", "--payload", '{"a":1}', "--wait")
    assert done.exit_code == 0, done.errors
    assert '"a": 1' in done.out
    assert "waiting for task" in done.errors


def test_a_task_that_did_not_complete_makes_waiting_end_with_one(admin: Admin) -> None:
    done = admin.run("submit", "--type", "fail", "--payload", "no luck", "--max-retries", "0", "--wait")
    assert done.exit_code == 1
    assert "dead_letter" in done.errors


def test_a_payload_comes_from_a_file_or_from_stdin(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"\x00\xff")
    by_file = admin.submit("--type", "t", "--queue", "files", "--payload-file", str(tmp_path / "p"))
    by_stdin = admin.document("submit", "--type", "t", "--queue", "files", "-", stdin=b"\x00\xfe")["task_id"]
    assert admin.document("status", by_file)["payload"] == "AP8="
    assert admin.document("status", str(by_stdin))["payload"] == "AP4="


def test_the_same_id_and_the_same_unique_key_are_the_same_task(admin: Admin) -> None:
    mine = to_text(new_id())
    assert admin.submit("--type", "t", "--queue", "same", "--task-id", mine) == mine
    again = admin.run("submit", "--type", "t", "--queue", "same", "--task-id", mine)
    assert again.exit_code == 0
    assert "exists already" in again.errors
    first = admin.submit("--type", "t", "--queue", "same", "--unique-key", "k")
    assert admin.submit("--type", "t", "--queue", "same", "--unique-key", "k") == first


def test_a_task_can_be_scheduled_depend_be_cancelled_and_retried(admin: Admin) -> None:
    first = admin.submit("--type", "t", "--queue", "later", "--schedule-at", "+1h")
    second = admin.submit("--type", "t", "--queue", "later", "--depends-on", first)
    assert admin.document("status", first)["status"] == "scheduled"
    assert admin.document("status", second)["status"] == "blocked"

    assert admin.document("cancel", first) == {"task_id": first, "status": "cancelled"}
    refused = admin.run("cancel", first)
    assert (refused.exit_code, refused.out) == (1, "")
    assert "INVALID_STATUS" in refused.errors
    assert admin.document("retry", first, "--max-retries", "7")["status"] == "pending"
    assert admin.document("status", first)["max_retries"] == 7


def test_a_running_task_is_cancelled_with_force_only(admin: Admin) -> None:
    task_id = admin.submit("--type", "sleep", "--payload", "60")
    wait_until(
        lambda: admin.document("status", task_id)["status"] == "in_progress",
        COMMAND_SECONDS_MAX,
        what=lambda: "it does not start",
    )
    assert admin.run("cancel", task_id).exit_code == 1
    assert admin.run("cancel", task_id, "--force").exit_code == 0
    wait_until(
        lambda: admin.document("status", task_id)["status"] == "cancelled",
        COMMAND_SECONDS_MAX,
        what=lambda: "it goes on",
    )


def test_lists_are_filtered_and_paged(admin: Admin) -> None:
    ids = [admin.submit("--type", f"t{n}", "--queue", "paged") for n in range(3)]

    page = admin.document("list", "--queue", "paged", "--limit", "2")
    rest = admin.document("list", "--queue", "paged", "--limit", "2", "--cursor", page["next_cursor"])

    assert [task["task_id"] for task in page["tasks"] + rest["tasks"]] == ids[::-1]
    assert (page["total"], rest["next_cursor"]) == (3, None)
    assert admin.document("list", "--queue", "paged", "--offset", "2")["tasks"][0]["task_id"] == ids[0]
    assert len(admin.document("list", "--queue", "paged", "--task-type", "t1")["tasks"]) == 1
    assert admin.document("list", "--queue", "paged", "--status", "completed")["total"] == 0
    assert ids[0] in admin.run("list", "--queue", "paged").out


def test_purge_counts_asks_and_forgets(admin: Admin) -> None:
    task_id = admin.submit("--type", "t", "--queue", "purged")
    command = ("purge", "--status", "pending", "--older-than", "0", "--queue", "purged")

    asked = admin.run(*command)
    assert asked.exit_code == 2
    assert "1 pending task" in asked.errors
    assert admin.document(*command, "--yes") == {"status": "pending", "purged": 1}
    assert admin.run("status", task_id).exit_code == 1
    assert admin.document(*command, "--yes")["purged"] == 0


def test_purge_leaves_what_is_young(admin: Admin) -> None:
    admin.submit("--type", "t", "--queue", "young")
    command = ("purge", "--status", "pending", "--older-than", "7d", "--queue", "young", "--yes")
    assert admin.document(*command)["purged"] == 0


# ---------------------------------------------------------------- looking


def test_a_paused_queue_says_so_until_it_is_resumed(admin: Admin) -> None:
    admin.submit("--type", "t", "--queue", "mail")
    assert admin.document("pause", "mail", "--reason", "upgrade") == {"queue": "mail", "paused": True}

    (mail,) = [queue for queue in admin.document("stats")["queues"] if queue["queue"] == "mail"]
    assert (mail["paused"], mail["paused_reason"]) == (True, "upgrade")
    assert "paused: upgrade" in admin.run("stats").out

    assert admin.document("resume", "mail") == {"queue": "mail", "paused": False}
    assert "paused: upgrade" not in admin.run("stats").out


def test_stats_depths_workers_health_and_cluster_are_documents_and_tables(admin: Admin) -> None:
    assert admin.document("stats")["worker_count"] == 1
    assert set(admin.document("queue-depth")["queue_depth_by_priority"]) == {"high", "normal", "low"}
    assert admin.document("workers")["workers"][0]["worker_id"] == "worker"
    assert admin.document("health")["status"] == "healthy"
    assert admin.document("cluster-status")["members"][0]["role"] == "standalone"
    for command in ("stats", "queue-depth", "workers", "health", "cluster-status"):
        done = admin.run(command)
        assert done.exit_code == 0
        assert done.out
        assert done.errors == ""
        assert not any(line.endswith(" ") or "\x1b" in line for line in done.out.splitlines())


def test_a_drained_worker_finishes_what_it_runs_and_goes(admin: Admin, address: str, tmp_path: Path) -> None:
    arguments = ("tests.replication.slow_tasks:app", "--queues", "drained", "--concurrency", "1")
    may_end = {VARIABLE: str(tmp_path)}
    with start_worker(tmp_path, address, *arguments, name="leaver", python_path=ROOT, env=may_end) as worker:
        worker.wait_for_event("ready")
        running = admin.submit("--type", "slow", "--queue", "drained")
        wait_until(
            lambda: admin.document("status", running)["status"] == "in_progress",
            COMMAND_SECONDS_MAX,
            what=lambda: "it runs",
        )
        waiting = admin.submit("--type", "slow", "--queue", "drained")

        drained = admin.document("drain-worker", "leaver")

        assert (drained["worker"], drained["status"], len(drained["sessions"])) == ("leaver", "draining", 1)
        worker.wait_for_event("draining")
        (tmp_path / "go").touch()
        assert worker.wait() == 0
    assert admin.document("status", running)["status"] == "completed"
    left = admin.document("status", waiting)
    assert (left["status"], left["counters"]["releases"]) == ("pending", 0)
    assert admin.run("drain-worker", "leaver").exit_code == 1


def test_yaml_is_the_same_document(admin: Admin) -> None:
    task_id = admin.submit("--type", "t", "--queue", "yaml")
    done = admin.run("--format", "yaml", "status", task_id)
    assert yaml.safe_load(done.out) == admin.document("status", task_id)


def test_what_the_broker_refuses_ends_with_one(admin: Admin) -> None:
    done = admin.run("status", to_text(new_id()))
    assert (done.exit_code, done.out) == (1, "")
    assert "TASK_NOT_FOUND" in done.errors


def test_changing_a_cluster_of_one_is_refused(admin: Admin) -> None:
    for command in (("transfer-leadership",), ("add-node", "n", "h:1"), ("remove-node", "n")):
        done = admin.run(*command)
        assert done.exit_code == 1
        assert "not part of a cluster" in done.errors
