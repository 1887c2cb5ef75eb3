"""Tasks in friendly words, batches of them, and what is seen of one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq import ids
from tq.client.batches import SUBMIT_BYTES_MAX, cut_short, packed_bytes_max, specs_of, submits, texts_of
from tq.client.info import TaskInfo
from tq.client.task import Task
from tq.errors import BadRequest, OutcomeUnknown, PayloadTooLarge, QueueFull, TaskFailed
from tq.protocol.connection import Connection, Role
from tq.protocol.limits import BATCH_ITEMS_MAX
from tq.retry import CUSTOM, RetryPolicy
from tq.task import (
    COMPLETED,
    DEAD_LETTER,
    PAYLOAD_BYTES_MAX,
    Attempt,
    Cause,
    Priority,
    TaskSpec,
    TaskView,
)
from tq.verbs import Existing, Submit, Submitted

ID = "0190a1b2-0000-7000-8000-000000000001"


INTEGERS = st.integers(0, 2**63 - 1)


def zeros(count: int) -> bytes:
    return bytes(count)


def counting(count: int) -> bytes:
    return bytes(at // 10 % 256 for at in range(count))


def spec_of(task: Task) -> TaskSpec:
    return specs_of([task], 1, zeros)[0]


def test_task_with_every_option_becomes_the_spec_of_the_wire() -> None:
    task = Task(
        "mail", bytearray(b"x"), "high", task_id=ID.upper(), queue="q", delay="5m", timeout=timedelta(seconds=9),
        max_retries=7, retry=[1, "1m"], dependencies=[ID], expires_at="2030-01-01T12:00:00Z", unique_key="k",
        unique_ttl=60, metadata={"a": "b"},
    )  # fmt: skip

    spec = spec_of(task)

    assert spec == TaskSpec(
        ids.from_text(ID), "mail", b"x", "q", 200, 0, 300_000, 9000, 7,
        RetryPolicy(CUSTOM, 1000, cap_ms=60_000, jitter_permille=0, delays_ms=(1000, 60_000)),
        (ids.from_text(ID),), 1_893_499_200_000, "k", 60_000, {"a": "b"},
    )  # fmt: skip
    assert task.task_id == ID and task.task_type == "mail" and task.payload == b"x"


def test_plain_task_has_the_defaults_of_a_spec() -> None:
    assert spec_of(Task("mail", b"x")) == TaskSpec(spec_of(Task("mail", b"x")).task_id, "mail", b"x")


def test_moment_and_policy_objects_are_taken() -> None:
    class Twice:
        def policy(self) -> RetryPolicy:
            return RetryPolicy(base_ms=1)

    moment = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert spec_of(Task("t", schedule_at=moment)).schedule_at_ms == 1_893_499_200_000
    assert spec_of(Task("t", retry=Twice())).retry == RetryPolicy(base_ms=1)
    assert spec_of(Task("t", retry=RetryPolicy(base_ms=2))).retry == RetryPolicy(base_ms=2)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"task_type": ""}, "task_type"),
        ({"task_type": "x" * 256}, "task_type"),
        ({"task_type": 5}, "task_type"),
        ({"queue": ""}, "queue"),
        ({"payload": "text"}, "payload is a str"),
        ({"priority": 256}, "priority"),
        ({"priority": -1}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": "urgent"}, "priority"),
        ({"task_id": "7"}, "'7'"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "31d"}, "timeout"),
        ({"delay": "366d"}, "delay"),
        ({"delay": 1, "schedule_at": "2030-01-01T12:00:00Z"}, "schedule_at and delay"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1001}, "max_retries"),
        ({"max_retries": 1.0}, "max_retries"),
        ({"retry": []}, "retry"),
        ({"retry": [1] * 101}, "retry"),
        ({"retry": 5}, "retry"),
        ({"dependencies": ID}, "dependencies"),
        ({"dependencies": [ID] * 1001}, "dependencies"),
        ({"dependencies": ["x"]}, "'x'"),
        ({"unique_key": "k" * 256}, "unique_key"),
        ({"unique_key": 5}, "unique_key"),
        ({"unique_ttl": 5}, "unique_ttl"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a": "x" * 65_536}}, "metadata"),
    ],
)
def test_wrong_field_is_refused_when_the_task_is_made_naming_it(
    changes: dict[str, object], word: str
) -> None:
    with pytest.raises(BadRequest, match=word):
        Task(**({"task_type": "t"} | changes))  # type: ignore[arg-type]


def test_payload_above_ten_megabytes_is_too_large() -> None:
    Task("t", bytes(PAYLOAD_BYTES_MAX))
    with pytest.raises(PayloadTooLarge, match=str(PAYLOAD_BYTES_MAX)):
        Task("t", bytes(PAYLOAD_BYTES_MAX + 1))


def test_tasks_that_say_the_same_are_equal_and_show_no_payload() -> None:
    assert Task("t", b"secret") == Task("t", b"secret") != Task("t", b"other")
    assert hash(Task("t", b"x", task_id=ID)) == hash(Task("t", b"x", Priority.NORMAL, task_id=ID))
    assert Task("t") != "t"
    assert repr(Task("t", b"secret", task_id=ID)) == f"Task('t', <6 bytes>, 150, task_id='{ID}')"


# ---------------------------------------------------------------- batches


def test_same_task_a_thousand_times_is_a_thousand_tasks_unless_it_has_an_id() -> None:
    specs = specs_of([Task("t")] * 1000, 1_700_000_000_000, counting_unique)
    assert len({spec.task_id for spec in specs}) == 1000
    assert len({spec.task_id for spec in specs_of([Task("t", task_id=ID)] * 3, 1, zeros)}) == 1


def counting_unique(count: int) -> bytes:
    return b"".join((at * 7).to_bytes(10, "big") for at in range(count // 10))


def test_fresh_ids_are_uuids_of_version_seven_with_the_time_in_front() -> None:
    for fill in (b"\x00", b"\xff", b"\xa5"):
        spec = specs_of([Task("t")], 1_700_000_000_123, lambda count, fill=fill: fill * count)[0]  # type: ignore[misc]
        made = uuid.UUID(bytes=spec.task_id)
        assert (made.version, made.variant) == (7, uuid.RFC_4122)
        assert int.from_bytes(spec.task_id[:6], "big") == 1_700_000_000_123


@pytest.mark.parametrize("wrong", ["mail", None, TaskSpec(b"short", "t")])
def test_what_is_no_task_is_refused_naming_its_position(wrong: object) -> None:
    with pytest.raises(BadRequest, match=r"tasks\[1\]"):
        specs_of([Task("t"), wrong], 1, zeros)  # type: ignore[list-item]


def test_spec_with_an_id_is_taken_as_it_is() -> None:
    spec = TaskSpec(ids.from_text(ID), "t")
    assert specs_of([spec], 1, zeros) == [spec]


def test_list_is_cut_by_count_and_by_bytes_keeping_order() -> None:
    many = [TaskSpec(ids.new_id(), "t")] * (BATCH_ITEMS_MAX + 1)
    assert [len(submit.tasks) for submit in submits(many)] == [BATCH_ITEMS_MAX, 1]
    half = bytes(SUBMIT_BYTES_MAX // 2)
    large = [TaskSpec(bytes([at]) * 16, "t", half) for at in range(3)]
    assert [submit.tasks for submit in submits(large)] == [(spec,) for spec in large]
    assert list(submits([])) == []


def test_task_of_the_largest_payload_goes_alone() -> None:
    small, large = TaskSpec(b"1" * 16, "t"), TaskSpec(b"2" * 16, "t", bytes(PAYLOAD_BYTES_MAX))
    assert [len(submit.tasks) for submit in submits([small, large, small])] == [1, 1, 1]


@given(
    st.lists(
        st.builds(
            TaskSpec,
            task_id=st.binary(min_size=16, max_size=16),
            task_type=st.text(min_size=1, max_size=40),
            payload=st.binary(max_size=200),
            queue=st.text(min_size=1, max_size=40),
            unique_key=st.text(max_size=40),
            priority=INTEGERS,
            schedule_at_ms=INTEGERS,
            delay_ms=INTEGERS,
            timeout_ms=INTEGERS,
            max_retries=INTEGERS,
            expires_at_ms=INTEGERS,
            unique_ttl_ms=INTEGERS,
            retry=st.none()
            | st.builds(
                RetryPolicy,
                INTEGERS,
                INTEGERS,
                INTEGERS,
                INTEGERS,
                INTEGERS,
                delays_ms=st.lists(st.integers(0, 2**40), max_size=9).map(tuple),
            ),
            dependencies=st.lists(st.binary(min_size=16, max_size=16), max_size=4).map(tuple),
            metadata=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_estimate_of_bytes_is_never_below_what_is_packed(specs: list[TaskSpec]) -> None:
    peer, broker = Connection(Role.PEER), Connection(Role.BROKER)
    peer.start_hello("client")
    broker.receive(peer.data_to_send())
    broker.accept_hello("n")
    peer.receive(broker.data_to_send())
    peer.send_request(Submit(tuple(specs)))
    assert len(peer.data_to_send()) <= 64 + sum(packed_bytes_max(spec) for spec in specs)


def test_id_of_an_existing_task_takes_the_place_of_the_new_one() -> None:
    specs = specs_of([Task("t"), Task("t")], 1, counting)
    holder = ids.from_text(ID)
    texts = texts_of(Submit(tuple(specs)), Submitted(1, b"\3\3", (Existing(1, holder, 1),)))
    assert texts == [ids.to_text(specs[0].task_id), ID]


def test_error_of_a_list_says_what_became_of_each_part() -> None:
    submit = Submit(tuple(specs_of([Task("t")] * 2, 1, counting)))
    full = cut_short(QueueFull("full", retry_after_ms=7), submit, 4, 9)
    assert (
        full.text
        == "tasks [4] to [5] were not accepted; the 4 before them were; the 3 after them were not sent: full"
    )
    assert isinstance(full, QueueFull) and full.retry_after_ms == 7
    lost = cut_short(OutcomeUnknown("lost"), submit, 0, 2)
    assert lost.text == "tasks [0] to [1] may have been accepted, all or none of them: lost"


def test_error_of_one_task_names_its_id() -> None:
    submit = Submit((TaskSpec(ids.from_text(ID), "t"),))
    assert cut_short(OutcomeUnknown("lost"), submit, 0, 1).text == f"task {ID} may have been accepted: lost"


# ---------------------------------------------------------------- what is seen


def view(state: int, **changes: object) -> TaskView:
    base = TaskView(ids.from_text(ID), "mail", "q", state, "why", 150, 1000, 2000, 0, 5000, 3, 1, "w1")
    return base._replace(**changes)


def test_info_shows_text_ids_and_moments() -> None:
    info = TaskInfo(
        view(
            COMPLETED, result=b"r", progress=(250, "quarter"), dependencies=(ids.from_text(ID),),
            attempts=(Attempt(1, "w1", 7, 1000, 1500, Cause.ERROR, "boom"), Attempt(2, "w1", 8, 1600)),
        )
    )  # fmt: skip
    assert (info.task_id, info.status, info.succeeded, info.has_ended) == (ID, "completed", True, True)
    assert info.created_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (
        info.schedule_at is None
        and info.started_at is None
        and info.ended_at is None
        and info.expires_at is None
    )
    assert info.progress == (0.25, "quarter") and info.dependencies == (ID,) and info.cause is Cause.ERROR
    assert info.timeout == timedelta(seconds=5) and info.result_or_raise() == b"r"
    assert TaskInfo(view(COMPLETED)).result_or_raise() == b""
    assert TaskInfo(view(COMPLETED)).progress is None and TaskInfo(view(COMPLETED)).cause is None


def test_failed_task_raises_with_status_cause_and_error() -> None:
    attempts = (Attempt(1, "w1", 7, 1000, 1500, Cause.TIMEOUT, "boom"),)
    with pytest.raises(TaskFailed) as caught:
        TaskInfo(view(DEAD_LETTER, error="Traceback: boom", attempts=attempts)).result_or_raise()
    assert caught.value.text == f"task {ID} 'mail' is dead_letter (timeout): why\nTraceback: boom"
