"""Every method of the client, in every flavour, against a broker that does as told."""

from __future__ import annotations

import uuid

import pytest

from tests.client.driven import FLAVOURS, Driven
from tests.client.fake_broker import FakeBroker
from tq import ids, verbs
from tq.client.task import Task
from tq.errors import BadRequest, InvalidStatus, TaskFailed, TaskNotFound, WorkerNotFound
from tq.task import CANCELLED, DEAD_LETTER
from tq.version import VERSION

pytestmark = pytest.mark.parametrize("flavour", FLAVOURS)


def test_submitted_task_can_be_got_by_the_id_that_was_returned(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail", b"x", "high", queue="q", timeout="9s")
        info = client.get_task(task_id)

    assert str(uuid.UUID(task_id)) == task_id
    assert (info.task_id, info.task_type, info.queue, info.priority) == (task_id, "mail", "q", 200)
    assert info.timeout.total_seconds() == 9


def test_client_connects_to_nothing_before_the_first_call(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address, api_key="key", name="me") as client:
        assert not broker.hellos
        client.ping()

    (hello,) = broker.hellos
    assert (hello.role, hello.token, hello.name, hello.software) == (
        "client",
        "key",
        "me",
        f"tq-python/{VERSION}",
    )


def test_same_task_object_repeated_makes_as_many_tasks_in_order(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_ids = client.submit_tasks([Task("mail", b"x")] * 1000)

        assert [ids.to_text(task_id) for task_id in broker.order] == task_ids
    assert len(set(task_ids)) == 1000 and broker.count(verbs.Submit) == 1


def test_submitting_an_empty_list_asks_nothing(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        assert client.submit_tasks([]) == []
    assert not broker.requests


def test_task_with_a_taken_unique_key_gives_the_id_of_its_holder(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        holder = client.submit_task("mail", unique_key="k")
        assert client.submit_task("mail", unique_key="k") == holder
        assert client.submit_tasks([Task("mail", unique_key="k"), Task("mail")])[0] == holder


def test_wait_returns_the_result_pushed_when_the_task_ends(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        first, second = client.submit_tasks([Task("mail"), Task("mail")])
        broker.finish(ids.from_text(first), result=b"one")
        assert client.wait_for_result(first, timeout=10) == b"one"
        broker.finish(ids.from_text(second), result=b"two")
        assert client.wait_for_results([second, first, second], timeout=10) == [b"two", b"one", b"two"]
        assert client.wait_for_results([]) == []


@pytest.mark.parametrize(("state", "status"), [(DEAD_LETTER, "dead_letter"), (CANCELLED, "cancelled")])
def test_wait_for_a_task_that_failed_raises_with_its_error(flavour: str, state: int, status: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")
        broker.finish(ids.from_text(task_id), state, None, "it broke")
        with pytest.raises(TaskFailed, match=rf"{task_id} 'mail' is {status}: test\nit broke"):
            client.wait_for_result(task_id, timeout=10)
        (info,) = client.wait_for_tasks([task_id], timeout=10)
        assert info.status == status


def test_wait_past_its_timeout_raises_timeout_error_and_may_be_repeated(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")
        for _ in range(2):
            with pytest.raises(TimeoutError, match="1 of 1 tasks"):
                client.wait_for_result(task_id, timeout=0.05)
        broker.finish(ids.from_text(task_id), result=b"late")
        assert client.wait_for_result(task_id, timeout=10) == b"late"


def test_wait_for_an_id_no_task_has_raises_at_once(flavour: str) -> None:
    missing = ids.to_text(ids.new_id())
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        with pytest.raises(TaskNotFound, match=missing):
            client.wait_for_result(missing)
        with pytest.raises(TaskNotFound):
            client.get_task(missing)


def test_cancel_and_retry_say_the_status_and_refuse_what_the_state_forbids(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_id = client.submit_task("mail")
        assert client.cancel_task(task_id) == "cancelled"
        with pytest.raises(InvalidStatus):
            client.cancel_task(task_id)
        assert client.retry_task(task_id, max_retries=9) == "pending"
        with pytest.raises(InvalidStatus):
            client.retry_task(task_id)
        assert verbs.Retry(ids.from_text(task_id), 9) in broker.requests


def test_purge_goes_on_until_nothing_is_left(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        client.submit_tasks([Task("mail")] * 2500)
        assert client.purge("pending", older_than="7d") == 2500
    assert broker.count(verbs.Purge) == 3
    assert next(r for r in broker.requests if isinstance(r, verbs.Purge)).older_than_ms == 7 * 86_400_000


def test_list_gives_tasks_newest_first_and_passes_the_filters(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        task_ids = client.submit_tasks([Task("mail")] * 3)
        page = client.list_tasks(status="failed", task_type="mail", queue="q", limit=2, cursor=9)
        assert [info.task_id for info in page.tasks] == task_ids[:0:-1] and page.total == 3
        with pytest.raises(BadRequest, match="dead_letter"):
            client.list_tasks(status="unwell")
    assert broker.requests[-1] == verbs.ListTasks(5, "mail", "q", 2, 0, 9)


def test_queue_is_paused_with_a_reason_and_resumed(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        client.pause_queue("mail", "maintenance")
        assert broker.paused == {"mail": "maintenance"}
        client.resume_queue("mail")
        assert broker.paused == {}


def test_worker_is_drained_by_its_id(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        assert client.drain_worker("w1") == ("73737373-7373-7373-7373-737373737373",)
        with pytest.raises(WorkerNotFound):
            client.drain_worker("w2")


def test_questions_about_the_broker_are_answered(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        client.submit_task("mail")
        assert client.stats().pending_count == 1
        assert client.workers() == ()
        assert client.cluster().leader == broker.address
        assert client.health().status == "healthy"
        assert client.backup("copy") == verbs.BackedUp("copy", 1, 2, 3)
        assert client.call(verbs.Ping()) == verbs.Done()
        assert client.get_task(ids.to_text(broker.order[0])).state == 3


def test_closing_twice_is_allowed_and_using_after_close_is_refused(flavour: str) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address) as client:
        client.ping()
        client.close()
        client.close()
        with pytest.raises(BadRequest, match="closed"):
            client.ping()
        broker.wait_until(lambda: not broker.peers)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"addresses": "a:x"}, "'a:x'"),
        ({"pool_size": 0}, "pool_size"),
        ({"timeout": -1}, "timeout"),
        ({"connect_timeout": "soon"}, "connect_timeout"),
        ({"keepalive": None}, "keepalive"),
    ],
)
def test_wrong_option_is_refused_when_the_client_is_made(
    flavour: str, options: dict[str, object], word: str
) -> None:
    with pytest.raises(BadRequest, match=word):
        Driven(flavour, **options)
