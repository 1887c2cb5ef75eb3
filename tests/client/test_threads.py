"""The blocking client alone: many threads, forks, and writes larger than the socket takes."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.client.fake_broker import FakeBroker, Fault
from tq import ids, verbs
from tq.client.sync import Client
from tq.client.sync_link import Link
from tq.client.task import Task
from tq.errors import BrokerUnavailable, OutcomeUnknown

THREADS = 16


def test_threads_share_one_connection_and_each_gets_its_own_answer() -> None:
    with FakeBroker() as broker, Client(broker.address) as client, ThreadPoolExecutor(THREADS) as pool:

        def submit_and_look(number: int) -> bool:
            task_id = client.submit_task(f"type-{number}")
            return client.get_task(task_id).task_type == f"type-{number}"

        assert all(pool.map(submit_and_look, range(500)))
        assert len(broker.order) == 500 and len(broker.hellos) == 1


def test_thread_that_waits_for_a_result_does_not_hold_up_the_others() -> None:
    with FakeBroker() as broker, Client(broker.address) as client, ThreadPoolExecutor(THREADS) as pool:
        task_ids = client.submit_tasks([Task("mail")] * 8)
        waits = [pool.submit(client.wait_for_result, task_id, 20) for task_id in task_ids]
        broker.wait_until(lambda: broker.count(verbs.Watch) == 8)
        assert client.stats().pending_count == 8
        for task_id in reversed(task_ids):
            broker.finish(ids.from_text(task_id), result=task_id.encode())
        assert [wait.result(20) for wait in waits] == [task_id.encode() for task_id in task_ids]


def test_leader_whose_time_is_up_hands_over_to_a_thread_that_still_waits() -> None:
    with FakeBroker() as broker, Client(broker.address) as client, ThreadPoolExecutor(THREADS) as pool:
        task_id = client.submit_task("mail")
        short = pool.submit(client.wait_for_result, task_id, 0.2)
        broker.wait_until(lambda: broker.count(verbs.Watch) == 1)
        longer = [pool.submit(client.wait_for_result, task_id, 20) for _ in range(5)]
        with pytest.raises(TimeoutError):
            short.result(20)
        broker.finish(ids.from_text(task_id), result=b"r")
        assert [wait.result(20) for wait in longer] == [b"r"] * 5


def test_lost_connection_wakes_every_thread_with_the_right_outcome() -> None:
    with FakeBroker() as broker, ThreadPoolExecutor(THREADS) as pool:
        link = Link.open(broker.address)
        broker.plan(verbs.GetStats, *[Fault.HOLD] * 8)
        calls = [pool.submit(link.call, verbs.GetStats()) for _ in range(8)]
        broker.wait_until(lambda: broker.count(verbs.GetStats) == 8)
        broker.cut()
        assert {type(call.exception(20)) for call in calls} == {OutcomeUnknown}
        with pytest.raises(BrokerUnavailable):
            link.call(verbs.Ping())
        assert not link.is_usable
        link.close()


def test_client_closed_by_one_thread_wakes_the_waits_of_others() -> None:
    with FakeBroker() as broker, ThreadPoolExecutor(THREADS) as pool:
        client = Client(broker.address)
        broker.plan(verbs.Retry, *[Fault.HOLD] * 4)
        calls = [pool.submit(client.retry_task, ids.to_text(ids.new_id())) for _ in range(4)]
        broker.wait_until(lambda: len(broker.held) == 4)
        client.close()
        assert {type(call.exception(20)) for call in calls} == {OutcomeUnknown}


def test_threads_lose_no_answer_while_connections_are_cut() -> None:
    with (
        FakeBroker() as broker,
        Client(broker.address, pool_size=2) as client,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        broker.plan(
            verbs.Submit, *[fault for _ in range(10) for fault in (Fault.CUT_AFTER, Fault.CUT_BEFORE)]
        )
        task_ids = list(pool.map(lambda _: client.submit_task("mail"), range(200)))
        assert sorted(ids.from_text(each) for each in task_ids) == sorted(broker.order)


def test_batches_larger_than_the_sockets_buffers_go_out_from_many_threads_at_once() -> None:
    with FakeBroker() as broker, Client(broker.address) as client, ThreadPoolExecutor(4) as pool:
        payload = bytes(2 * 1024 * 1024)
        batches = pool.map(lambda _: client.submit_tasks([Task("mail", payload)] * 6), range(4))
        assert sum(len(task_ids) for task_ids in batches) == 24 == len(broker.order)


def test_broker_that_hung_up_while_nobody_looked_is_noticed_before_the_next_request() -> None:
    with FakeBroker() as broker, Client(broker.address) as client:
        task_id = client.submit_task("mail")
        client.cancel_task(task_id)
        broker.cut()
        broker.wait_until(lambda: not broker.peers)
        assert client.retry_task(task_id) == "pending"  # a verb that is never sent twice


def test_retired_link_with_nothing_in_flight_closes_at_once() -> None:
    with FakeBroker() as broker:
        link = Link.open(broker.address)
        link.retire()
        assert not link.is_open
        link.close()
        broker.wait_until(lambda: not broker.peers)


def test_interrupted_read_ends_the_connection_and_the_next_call_makes_a_new_one() -> None:
    with FakeBroker() as broker, Client(broker.address) as client:
        client.ping()
        link = client._channel()._slots[0].link
        assert link is not None
        with pytest.raises(KeyboardInterrupt), link._held:
            raise KeyboardInterrupt
        assert not link.is_open
        client.ping()
        assert len(broker.hellos) == 2


if TYPE_CHECKING:
    Answers: TypeAlias = multiprocessing.SimpleQueue[tuple[str, str]]


def _in_child(client: Client, parent_task: str, answers: Answers) -> None:
    answers.put((client.get_task(parent_task).status, client.submit_task("child")))
    client.close()


def test_client_goes_on_in_parent_and_child_after_a_fork() -> None:
    context = multiprocessing.get_context("fork")
    with FakeBroker() as broker, Client(broker.address) as client:
        task_id = client.submit_task("parent")
        answers: Answers = context.SimpleQueue()
        child = context.Process(target=_in_child, args=(client, task_id, answers))
        child.start()
        status, child_task = answers.get()
        child.join(20)
        assert child.exitcode == 0 and status == "pending"
        assert client.get_task(child_task).task_type == "child"
        assert len(broker.hellos) == 2, "the parent kept its connection, the child made its own"


def test_client_may_be_made_in_one_thread_and_closed_in_another() -> None:
    with FakeBroker() as broker:
        client = Client(broker.address)
        client.ping()
        closer = threading.Thread(target=client.close)
        closer.start()
        closer.join(20)
        broker.wait_until(lambda: not broker.peers)
