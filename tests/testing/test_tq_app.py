"""The fixture `tq_app`, used as its users use it."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from tq import App, Client, Retry, TaskFailed, current
from tq.testing.app_under_test import AppUnderTest
from tq.testing.memory_broker import MemoryBroker

app = App("nowhere.invalid:1")
other = App("nowhere.invalid:2")
heard: list[str] = []


@app.task(queue="mail")
async def greet(name: str, *, polite: bool = False) -> str:
    return f"{'Dear' if polite else 'Hi'} {name}"


@app.task
def shout(name: str) -> str:
    greet.send(name, polite=True)
    return name.upper()


@app.task(max_retries=1, retry=Retry(base="10s", jitter=0))
def flaky() -> int:
    if current().attempt == 1:
        raise ValueError("not yet")
    return current().attempt


@other.task
async def relay(name: str) -> str:
    handle = await greet.asend(name)
    return handle.id


@other.task
def restless() -> None:
    restless.send()


@app.on_startup
def listen() -> None:
    heard.append("up")


def test_nothing_runs_before_drain_and_then_as_a_worker_would(tq_app: AppUnderTest) -> None:
    handle = greet.send("Ada", polite=True)
    assert handle.status() == "pending"
    heard.clear()
    assert [sent.result for sent in tq_app.drain()] == ["Dear Ada"]
    assert handle.result(timeout=5) == "Dear Ada"
    assert heard == ["up"]
    assert tq_app.drain() == []


def test_tasks_that_tasks_send_run_in_the_same_drain_whatever_app_they_are_of(tq_app: AppUnderTest) -> None:
    shout.send("bob")
    relay.send("eve")
    assert [sent.task_type for sent in tq_app.drain()] == [shout.name, relay.name, greet.name, greet.name]
    assert tq_app.assert_done(greet, "bob", polite=True).result == "Dear bob"
    assert tq_app.assert_done(greet, "eve").kwargs == {}


def test_delay_is_waited_for_by_moving_the_clock_and_not_the_wall(tq_app: AppUnderTest) -> None:
    greet.options(delay="1h").send("Ada")
    tq_app.advance("59m")
    assert tq_app.drain() == []
    tq_app.advance("1m")
    assert [sent.result for sent in tq_app.drain()] == ["Hi Ada"]


def test_times_of_an_app_are_the_fixtures_so_that_an_expiry_counts_from_its_now(tq_app: AppUnderTest) -> None:
    tq_app.advance("2h")
    greet.options(expires="1h").send("early")
    assert [sent.status for sent in tq_app.drain()] == ["completed"]
    greet.options(expires="1h").send("late")
    tq_app.advance("61m")
    assert tq_app.drain() == []
    assert [sent.status for sent in tq_app.tasks(greet)] == ["completed", "expired"]


def test_failure_is_retried_after_its_delay_with_its_attempt_counted(tq_app: AppUnderTest) -> None:
    handle = flaky.send()
    [first] = tq_app.drain()
    assert (first.status, first.error.splitlines()[0]) == ("failed", "ValueError: not yet")
    assert tq_app.drain() == []
    tq_app.advance("10s")
    [second] = tq_app.drain()
    assert second.status == "completed"
    assert handle.result(timeout=5) == 2


def test_task_without_retries_left_fails_for_its_waiter(tq_app: AppUnderTest) -> None:
    handle = flaky.options(max_retries=0).send()
    tq_app.drain()
    with pytest.raises(TaskFailed, match="not yet") as caught:
        handle.result(timeout=5)
    failed = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  as a process pool would
    assert (failed.task_id, failed.status, failed.cause) == (handle.id, "dead_letter", "error")
    assert failed.error.startswith("ValueError: not yet\n")


def test_assertions_name_what_there_is_when_they_fail(tq_app: AppUnderTest) -> None:
    greet.send("Ada")
    assert tq_app.assert_sent(greet, polite=False).args == ("Ada",)
    with pytest.raises(AssertionError, match=r"(?s)no .*greet is completed .*'Ada'\) pending"):
        tq_app.assert_done(greet, "Ada")
    with pytest.raises(AssertionError, match="was sent"):
        tq_app.assert_sent(greet, "Bob")


def test_async_test_sends_and_drains_on_its_own_loop(tq_app: AppUnderTest) -> None:
    async def scenario() -> None:
        handle = await greet.asend("Ada")
        with pytest.raises(RuntimeError, match="adrain"):
            tq_app.drain()
        assert [sent.status for sent in await tq_app.adrain()] == ["completed"]
        assert await handle.aresult(timeout=5) == "Hi Ada"
        await tq_app.aclose()

    asyncio.run(scenario())


def test_task_that_sends_itself_without_end_is_said_to(
    tq_app: AppUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tq.testing.app_under_test.RUNS_MAX", 20)
    restless.send()
    with pytest.raises(RuntimeError, match="does one send itself"):
        tq_app.drain()


def test_more_tasks_than_a_page_holds_are_told_in_the_order_they_were_sent(
    tq_app: AppUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tq.testing.app_under_test.PAGE", 3)
    greet.send_many([(str(number),) for number in range(8)])
    assert [sent.args for sent in tq_app.tasks(greet)] == [(str(number),) for number in range(8)]


def test_apps_are_themselves_again_after_the_test(request: pytest.FixtureRequest) -> None:
    assert "clock" not in vars(App)
    assert isinstance(vars(App)["client"].fget.__doc__, str), "the property of the class itself"


def test_broker_in_memory_serves_any_client(tq_broker: MemoryBroker) -> None:
    with Client(tq_broker.address) as client:
        task_id = client.submit_task("raw", b"\x00\xff", delay="1d")
        assert client.get_task(task_id).status == "scheduled"
        tq_broker.advance("1d")
        assert client.get_task(task_id).status == "pending"
