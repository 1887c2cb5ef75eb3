"""What becomes of calls when connections, brokers and answers get lost, in every flavour of the client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.client.driven import FLAVOURS, Driven
from tests.client.fake_broker import FakeBroker, Fault
from tq import ids, verbs
from tq.client.task import Task
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokerUnavailable,
    NotLeader,
    OutcomeUnknown,
    ProtocolError,
    QueueFull,
    TooManyConnections,
)

pytestmark = pytest.mark.parametrize("flavour", FLAVOURS)


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


# ---------------------------------------------------------------- lost answers


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_submit_whose_answer_is_lost_is_sent_again_and_makes_one_task(flavour: str, fault: Fault) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        broker.plan(verbs.Submit, fault, fault)
        task_id = client.submit_task("mail")
        assert [ids.to_text(each) for each in broker.order] == [task_id]
    assert broker.count(verbs.Submit) == 3


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_batch_whose_answer_is_lost_is_sent_again_with_the_same_ids(flavour: str, fault: Fault) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        broker.plan(verbs.Submit, fault)
        task_ids = client.submit_tasks([Task("mail")] * 50)
        assert [ids.to_text(each) for each in broker.order] == task_ids


def test_retry_whose_answer_is_lost_is_unknown_and_not_sent_again(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")
        client.cancel_task(task_id)
        broker.plan(verbs.Retry, Fault.CUT_AFTER)
        with pytest.raises(OutcomeUnknown):
            client.retry_task(task_id)
        assert client.get_task(task_id).status == "pending"
    assert broker.count(verbs.Retry) == 1


def test_cancel_that_worked_though_its_answer_was_lost_is_reported_as_done(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")
        broker.plan(verbs.Cancel, Fault.CUT_AFTER)
        assert client.cancel_task(task_id) == "cancelled"
    assert broker.count(verbs.Cancel) == 2


def test_cancel_that_may_have_come_too_late_stays_unknown(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")
        broker.finish(ids.from_text(task_id))
        broker.plan(verbs.Cancel, Fault.CUT_AFTER)
        with pytest.raises(OutcomeUnknown, match="INVALID_STATUS"):
            client.cancel_task(task_id)


def test_unanswered_submit_is_unknown_naming_its_id_and_an_unanswered_read_is_unavailable(
    flavour: str,
) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address, timeout=0.5) as client:
        client.health(call_timeout=20)  # connected: what is short is the wait for the answer
        broker.plan(verbs.Submit, Fault.HOLD)
        broker.plan(verbs.GetStats, Fault.HOLD)
        task_id = ids.to_text(ids.new_id())
        with pytest.raises(OutcomeUnknown, match=f"task {task_id} may have been accepted"):
            client.submit_task("mail", task_id=task_id)
        with pytest.raises(BrokerUnavailable):
            client.stats()
        assert client.submit_task("mail", task_id=task_id, call_timeout="10s") == task_id


def test_answer_that_comes_after_its_call_gave_up_disturbs_nobody(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        client.health()
        broker.plan(verbs.GetHealth, Fault.HOLD)
        with pytest.raises(BrokerUnavailable):
            client.health(call_timeout=0.3)
        broker.wait_until(lambda: broker.held)
        broker.answer_held()
        assert client.stats().pending_count == 0
        assert len(broker.hellos) == 1


# ---------------------------------------------------------------- refusals


def test_full_queue_is_tried_again_after_the_time_the_broker_said(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        broker.plan(verbs.Submit, QueueFull("full", retry_after_ms=20), QueueFull("full", retry_after_ms=20))
        client.submit_task("mail")
    assert broker.count(verbs.Submit) == 3 and len(broker.hellos) == 1


def test_full_queue_is_reported_at_once_when_its_retry_after_is_past_the_deadline(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address, timeout=5) as client:
        broker.plan(verbs.Submit, QueueFull("full", retry_after_ms=60_000))
        with pytest.raises(QueueFull, match="was not accepted: full") as caught:
            client.submit_task("mail")
    assert caught.value.retry_after_ms == 60_000 and broker.count(verbs.Submit) == 1


def test_rejected_request_is_not_sent_again(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        broker.plan(verbs.Submit, BadRequest("no such thing"))
        with pytest.raises(BadRequest, match="no such thing"):
            client.submit_task("mail")
    assert broker.count(verbs.Submit) == 1


def test_first_part_of_a_long_list_that_fails_ends_it_and_says_where(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        half = bytes(5 * 1024 * 1024)
        broker.plan(verbs.Submit, QueueFull("full", retry_after_ms=60_000))
        with pytest.raises(
            QueueFull, match=r"tasks \[0\] to \[0\] were not accepted; the 2 after them were not sent"
        ):
            client.submit_tasks([Task("mail", half)] * 3)
        assert not broker.order


def test_wrong_key_is_reported_at_once(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address, api_key="wrong") as client:
        broker.refuse_hello = AuthenticationFailed("the key is not known")
        with pytest.raises(AuthenticationFailed, match="not known"):
            client.submit_task("mail")
    assert len(broker.hellos) == 1


def test_server_that_is_no_broker_is_reported_at_once(flavour: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak_http() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=speak_http)
        thread.start()
        with Driven(flavour, f"127.0.0.1:{server.getsockname()[1]}") as client, pytest.raises(ProtocolError):
            client.ping()
        thread.join(10)


def test_nobody_listening_is_unavailable_when_the_time_is_up(flavour: str) -> None:
    with (
        nobody() as address,
        Driven(flavour, address, timeout=0.5) as client,
        pytest.raises(BrokerUnavailable, match=f"cannot reach {address}"),
    ):
        client.ping()


def test_peer_that_never_answers_the_hello_is_unavailable(flavour: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            Driven(flavour, address, timeout=0.3, connect_timeout=0.1) as client,
            pytest.raises(BrokerUnavailable),
        ):
            client.ping()


# ---------------------------------------------------------------- other nodes


def test_dead_first_address_is_passed_over(flavour: str) -> None:
    with nobody() as dead, FakeBroker() as broker, Driven(flavour, f"{dead},{broker.address}") as client:
        client.ping()
        assert broker.count(verbs.Ping) == 1


def test_request_goes_to_the_leader_a_follower_names_and_stays_there(flavour: str) -> None:
    with FakeBroker() as follower, FakeBroker() as leader, Driven(flavour, follower.address) as client:
        follower.plan(verbs.Submit, NotLeader(leader=leader.address))
        client.submit_task("mail")
        client.submit_task("mail")
        assert len(leader.order) == 2 and not follower.order
        follower.wait_until(lambda: not follower.peers)


def test_wait_follows_the_leader_a_node_names(flavour: str) -> None:
    with FakeBroker() as follower, FakeBroker() as leader, Driven(flavour, follower.address) as client:
        task_id = client.submit_task("mail")
        leader.tasks.update(follower.tasks)
        follower.plan(verbs.Watch, *[NotLeader(leader=leader.address)] * 100)
        leader.finish(ids.from_text(task_id), result=b"done")
        assert client.wait_for_result(task_id, timeout=20) == b"done"
        assert follower.count(verbs.Watch) == 1


def test_nodes_that_point_at_each_other_do_not_make_the_client_spin(flavour: str) -> None:
    with FakeBroker() as one, FakeBroker() as two, Driven(flavour, one.address, timeout=0.4) as client:
        for here, there in ((one, two), (two, one)):
            here.plan(verbs.GetStats, *[NotLeader(leader=there.address)] * 100)
        with pytest.raises(BrokerUnavailable):
            client.stats()  # a submit that the deadline finds under way would be unknown
        assert one.count(verbs.GetStats) + two.count(verbs.GetStats) < 10


def test_node_that_cannot_serve_is_left_for_the_next(flavour: str) -> None:
    with FakeBroker() as one, FakeBroker() as two, Driven(flavour, f"{one.address},{two.address}") as client:
        one.plan(verbs.Submit, BrokerUnavailable("no majority"))
        client.submit_task("mail")
        assert len(two.order) == 1


def test_node_without_room_for_connections_is_left_for_the_next(flavour: str) -> None:
    with FakeBroker() as one, FakeBroker() as two, Driven(flavour, f"{one.address},{two.address}") as client:
        one.refuse_hello = TooManyConnections("full house")
        client.ping()
        assert two.count(verbs.Ping) == 1


def test_brokers_without_room_are_named_so_when_the_time_is_up(flavour: str) -> None:
    with FakeBroker() as one, Driven(flavour, one.address, timeout=1.0) as client:
        one.refuse_hello = TooManyConnections("full house")
        with pytest.raises(TooManyConnections, match="full house"):
            client.ping()


def test_attempt_that_the_deadline_cuts_short_does_not_hide_what_the_broker_said(flavour: str) -> None:
    with FakeBroker() as one, Driven(flavour, one.address, timeout=1.0) as client:
        one.refuse_hello = TooManyConnections("full house")
        one.silent_after = 1
        with pytest.raises(TooManyConnections, match="full house"):
            client.ping()
        assert len(one.hellos) == 2


def test_node_that_is_stopping_gets_no_new_requests(flavour: str) -> None:
    with FakeBroker() as one, FakeBroker() as two, Driven(flavour, f"{one.address},{two.address}") as client:
        client.ping()
        one.push(verbs.Draining(1000, "upgrade"))
        client.ping()  # the async flavours read the push in this turn of their loop, or before it
        client.submit_task("mail")
        assert len(two.order) == 1


def test_client_comes_back_when_the_broker_does(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        client.submit_task("mail")
        broker.stop()
        timer = threading.Timer(0.3, broker.listen)
        timer.start()
        client.submit_task("mail")
        timer.join()
        assert len(broker.order) == 2


# ---------------------------------------------------------------- waits


def test_wait_goes_on_after_the_connection_was_lost(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        first, second = client.submit_tasks([Task("mail")] * 2)

        def meddle() -> None:
            broker.wait_until(lambda: broker.count(verbs.Watch) == 1)
            broker.finish(ids.from_text(first), result=b"one")
            broker.cut()
            broker.wait_until(lambda: broker.count(verbs.Watch) >= 2)
            broker.finish(ids.from_text(second), result=b"two")

        meddler = threading.Thread(target=meddle)
        meddler.start()
        assert client.wait_for_results([first, second], timeout=20) == [b"one", b"two"]
        meddler.join()


def test_task_that_ended_while_the_connection_was_down_is_not_missed(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")

        def meddle() -> None:
            broker.wait_until(lambda: broker.count(verbs.Watch) == 1)
            broker.stop()
            broker.finish(ids.from_text(task_id), result=b"meanwhile")
            broker.listen()

        meddler = threading.Thread(target=meddle)
        meddler.start()
        assert client.wait_for_result(task_id, timeout=20) == b"meanwhile"
        meddler.join()


def test_wait_without_any_broker_ends_with_timeout_error(flavour: str) -> None:
    with nobody() as address, Driven(flavour, address) as client, pytest.raises(TimeoutError):
        client.wait_for_result(ids.to_text(ids.new_id()), timeout=0.2)


def test_silent_broker_is_taken_for_dead_and_the_call_goes_to_another(flavour: str) -> None:
    with (
        FakeBroker() as mute,
        FakeBroker() as other,
        Driven(flavour, f"{mute.address},{other.address}", keepalive=0.2) as client,
    ):
        client.ping()
        mute.plan(verbs.Submit, *[Fault.HOLD] * 10)
        mute.plan(verbs.Ping, *[Fault.HOLD] * 10)
        client.submit_task("mail", call_timeout=20)
        assert len(other.order) == 1 and not mute.order


def test_slow_answer_of_a_broker_that_lives_is_waited_for(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address, keepalive=0.1) as client:
        broker.plan(verbs.Backup, Fault.HOLD)

        def answer_late() -> None:
            broker.wait_until(lambda: broker.count(verbs.Ping) >= 4)
            broker.answer_held()

        answering = threading.Thread(target=answer_late)
        answering.start()
        assert client.backup("copy") == verbs.BackedUp("copy", 1, 2, 3)
        answering.join()
    assert len(broker.hellos) == 1
