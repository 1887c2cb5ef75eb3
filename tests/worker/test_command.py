"""`tq-worker` and an App as people meet them: real processes, a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import Process, broker_address, program, start_broker, start_worker, wait_until
from tests.worker import shop
from tq import App, TaskFailed
from tq.errors import BrokerUnavailable
from tq.worker.handle import Handle
from tq.worker.task_function import TaskFunction

SHOP = "tests.worker.shop:app"
ROOT = Path(__file__).parents[2]
COMMAND_S_MAX = 90
RESULT_S_MAX = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker_address(broker)


@pytest.fixture
def app(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The shop's App, sending to this broker."""
    monkeypatch.setenv("TQ_BROKER_ADDR", address)
    yield shop.app
    shop.app.close()


def worker(directory: Path, address: str, *arguments: str, name: str = "worker") -> Process:
    return start_worker(directory, address, *arguments, name=name, python_path=ROOT)


def command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `tq-worker` to its end."""
    return subprocess.run(
        [program("tq-worker"), *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
        cwd=ROOT,
        env=os.environ | env,
    )


def test_what_is_sent_is_run_in_its_lane_and_comes_back_typed(app: App, address: str, tmp_path: Path) -> None:
    with worker(tmp_path, address, SHOP):
        text: Handle[str] = shop.greet.send("ann", loud=True)
        number: Handle[int] = shop.add.options(priority="high").send(1, b=2)
        sha: Handle[str] = shop.digest.send("x")
        assert text.result(timeout=RESULT_S_MAX) == "HELLO ANN"
        assert number.result(timeout=RESULT_S_MAX) == 3
        assert sha.result(timeout=RESULT_S_MAX) == shop.digest("x")
        assert text.status() == "completed"


def test_async_code_sends_and_waits_the_same_way(app: App, address: str, tmp_path: Path) -> None:
    async def scenario() -> list[object]:
        handles = [await shop.greet.asend("bob"), *await shop.add.asend_many([(1, 2), (3, 4)])]
        results = [await handle.aresult(timeout=RESULT_S_MAX) for handle in handles]
        assert await handles[0].astatus() == "completed"
        await app.aclose()
        return results

    with worker(tmp_path, address, SHOP):
        assert asyncio.run(scenario()) == ["hello bob", 3, 7]


def test_calls_of_different_functions_go_in_one_batch(app: App, address: str, tmp_path: Path) -> None:
    with worker(tmp_path, address, SHOP):
        handles = app.submit_many([shop.greet.prepare("eve"), shop.add.prepare(20, 1)])  # type: ignore[list-item]
        assert [handle.result(timeout=RESULT_S_MAX) for handle in handles] == ["hello eve", 21]


def test_a_failed_task_raises_at_its_handle_with_the_handlers_error(
    app: App, address: str, tmp_path: Path
) -> None:
    with worker(tmp_path, address, SHOP), pytest.raises(TaskFailed, match="ValueError: bang"):
        shop.explode.send().result(timeout=RESULT_S_MAX)


def test_the_same_unique_key_gives_the_same_task(app: App) -> None:
    keyed = shop.add.options(unique_key="once", unique_ttl="1m", delay="1h")
    first, second = keyed.send(1, 2), keyed.send(1, 2)
    assert first == second
    first.cancel()
    assert first.status() == "cancelled"


@pytest.mark.parametrize("function", [shop.wait_long, shop.block_long])
def test_a_running_task_is_cancelled_by_force(
    app: App, address: str, tmp_path: Path, function: TaskFunction[[], object, object]
) -> None:
    with worker(tmp_path, address, SHOP):
        handle = function.send()
        wait_until(lambda: handle.status() == "in_progress", RESULT_S_MAX, what=handle.status)
        handle.cancel(force=True)
        with pytest.raises(TaskFailed, match="cancelled"):
            handle.result(timeout=RESULT_S_MAX)


def test_sending_without_a_broker_says_so() -> None:
    lonely = App("127.0.0.1:1")
    ping = lonely.task(name="ping")(lambda: None)
    with pytest.raises(BrokerUnavailable, match="127.0.0.1:1"):
        lonely.client.submit_tasks([ping.prepare().task], call_timeout="0.2s")
    lonely.close()


def test_the_built_in_handlers_are_served_without_an_app(address: str, tmp_path: Path) -> None:
    sender = App(address)
    handles = {
        name: sender.handler(name)(lambda payload: payload).send(payload)
        for name, payload in {
            "echo": b"\x00x",
            "sleep": b"0.01",
            "compute": b'{"operation": "divide", "a": 1, "b": 4}',
        }.items()
    }
    with worker(tmp_path, address):
        results = {name: handle.result(timeout=RESULT_S_MAX) for name, handle in handles.items()}
    assert results["echo"] == b"\x00x" and results["sleep"] == b"0.01"
    assert json.loads(results["compute"]) == {"result": 0.25}
    sender.close()


def test_ready_is_logged_once_registered_and_sigterm_drains(address: str, tmp_path: Path) -> None:
    with worker(tmp_path, address, SHOP, name="named") as process:
        assert process.wait_for_event("ready")["worker_id"] == "named"
        process.terminate()
        assert process.wait() == 0
        events = [event["event"] for event in process.events()]
        assert events == ["ready", "draining", "stopped"]


def test_a_second_signal_hands_back_what_runs_uncharged(app: App, address: str, tmp_path: Path) -> None:
    with worker(tmp_path, address, SHOP) as process:
        handle = shop.block_long.send()
        wait_until(lambda: handle.status() == "in_progress", RESULT_S_MAX, what=handle.status)
        process.terminate()
        process.wait_for_event("draining")
        process.terminate()
        assert process.wait() == 0
    info = handle.info()
    assert (info.status, info.retry_count, info.counters.releases) == ("pending", 0, 1)
    handle.cancel()


def test_a_child_at_work_ends_when_its_worker_is_killed(app: App, address: str, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with worker(tmp_path, address, SHOP) as process:
        handle = shop.tell_pid_and_block.send(str(told))
        pid = wait_until(lambda: told.exists() and told.read_text(), RESULT_S_MAX, what=process.log_tail)
        process.kill()
        wait_until(
            lambda: not _is_alive(int(pid)), RESULT_S_MAX, what=lambda: f"process {pid} is still there"
        )
    handle.cancel(force=True)


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_burst_empties_the_queue_and_ends(app: App, address: str, tmp_path: Path) -> None:
    # A queue of its own: the worker that another test killed may still be within its grace on the others.
    handles = shop.add.options(queue="burst").send_many([(number, 1) for number in range(50)])
    with worker(tmp_path, address, SHOP, "--burst", "--queues", "burst") as process:
        assert process.wait() == 0
    assert {handle.status() for handle in handles} == {"completed"}


def test_check_tells_a_reachable_broker_from_an_absent_one(address: str) -> None:
    assert command(SHOP, "--check", "--broker-addr", address).returncode == 0
    absent = command(SHOP, "--check", "--broker-addr", "127.0.0.1:1")
    assert absent.returncode == 1
    assert "cannot reach 127.0.0.1:1" in absent.stdout
    assert command("no_such_module:app", "--check", "--broker-addr", address).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--concurrency", "0"), "concurrency"),
        (("--kind", "fibre"), "kind"),
        (("no_such_module:app",), "no module 'no_such_module'"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_wrong_usage_is_told_with_exit_code_two(arguments: tuple[str, ...], words: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr


def test_every_flag_has_a_twin_in_the_environment(address: str) -> None:
    done = command(
        TQ_APP=SHOP, TQ_BROKER_ADDR=address, TQ_CONCURRENCY="9", TQ_BURST="true", TQ_WORKER_ID="env"
    )
    assert done.returncode == 0
    ready = next(
        event for line in done.stdout.splitlines() if (event := json.loads(line))["event"] == "ready"
    )
    assert (ready["capacity"], ready["worker_id"]) == (9, "env")


def test_help_shows_examples_and_exit_codes() -> None:
    done = command("--help")
    assert done.returncode == 0
    assert "shop.tasks:app --burst" in done.stdout and "exit codes:" in done.stdout
