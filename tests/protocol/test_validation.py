"""What a broker refuses, and what it says of it: the field, what it held, what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from tq.errors import BadRequest, PayloadTooLarge
from tq.protocol import limits
from tq.protocol.validate import check_request, check_tasks
from tq.retry import CUSTOM, RetryPolicy
from tq.task import ERROR_CHARS_MAX, PAYLOAD_BYTES_MAX, Cause, Priority, TaskSpec
from tq.verbs import (
    Backup,
    Cancel,
    Claim,
    Extend,
    GetTask,
    Heartbeat,
    ListTasks,
    PauseQueue,
    Purge,
    Register,
    Request,
    Retry,
    Settle,
    SettleItem,
    Submit,
    Watch,
)

A = b"a" * 16
TASK = TaskSpec(A, "echo")
REGISTER = Register(b"s" * 16, "w", ("q",), ("t",), 1)

TASK_FAULTS: list[tuple[dict[str, object], str]] = [
    ({"task_id": b"short"}, "tasks[0].task_id: 5 bytes; an id is 16 bytes"),
    ({"task_id": "a" * 16}, "tasks[0].task_id: 'aaaaaaaaaaaaaaaa' is not bytes; an id is 16 bytes"),
    ({"task_type": ""}, "tasks[0].task_type: '' has 0 characters; 1 to 255 characters"),
    ({"task_type": 7}, "tasks[0].task_type: 7 is not text; 1 to 255 characters"),
    (
        {"task_type": "n" * 256},
        f"tasks[0].task_type: '{'n' * 40}'... has 256 characters; 1 to 255 characters",
    ),
    ({"task_type": "a\nb"}, r"tasks[0].task_type: 'a\nb' has the character '\n'; no control characters"),
    ({"task_type": "\x85"}, r"tasks[0].task_type: '\x85' has the character '\x85'; no control characters"),
    (
        {"task_type": "\ud800"},
        r"tasks[0].task_type: '\ud800' has the character '\ud800'; no control characters",
    ),
    ({"payload": "text"}, "tasks[0].payload: 'text' is not bytes; 0 to 10485760 bytes"),
    ({"queue": ""}, "tasks[0].queue: '' has 0 characters; 1 to 255 characters"),
    ({"priority": 300}, "tasks[0].priority: 300 is out of range; 0 to 255"),
    ({"priority": -1}, "tasks[0].priority: -1 is out of range; 0 to 255"),
    ({"priority": "high"}, "tasks[0].priority: 'high' is not an integer; 0 to 255"),
    ({"priority": True}, "tasks[0].priority: True is not an integer; 0 to 255"),
    ({"priority": 1.5}, "tasks[0].priority: 1.5 is not an integer; 0 to 255"),
    ({"priority": None}, "tasks[0].priority: None is not an integer; 0 to 255"),
    ({"priority": slice(1)}, "tasks[0].priority: a value of type slice is not an integer; 0 to 255"),
    (
        {"schedule_at_ms": limits.TIME_MS_MAX + 1},
        "tasks[0].schedule_at_ms: 253402300800000 is out of range; 0 to 253402300799999",
    ),
    ({"delay_ms": -1}, "tasks[0].delay_ms: -1 is out of range; 0 to 31536000000"),
    ({"timeout_ms": 0}, "tasks[0].timeout_ms: 0 is out of range; 1 to 2592000000"),
    ({"max_retries": 1001}, "tasks[0].max_retries: 1001 is out of range; 0 to 1000"),
    ({"retry": 5}, "tasks[0].retry: 5 is not a list of fields"),
    ({"retry": RetryPolicy(4)}, "tasks[0].retry.strategy: 4 is out of range; 0 to 3"),
    ({"retry": RetryPolicy(base_ms=-1)}, "tasks[0].retry.base_ms: -1 is out of range; 0 to 31536000000"),
    (
        {"retry": RetryPolicy(factor_permille=999)},
        "tasks[0].retry.factor_permille: 999 is out of range; 1000 to 1000000",
    ),
    (
        {"retry": RetryPolicy(jitter_permille=1001)},
        "tasks[0].retry.jitter_permille: 1001 is out of range; 0 to 1000",
    ),
    (
        {"retry": RetryPolicy(3)},
        "tasks[0].retry.delays_ms: 0 items; the custom strategy takes 1 to 100",
    ),
    (
        {"retry": RetryPolicy(3, delays_ms=(1, -1))},
        "tasks[0].retry.delays_ms[1]: -1 is out of range; 0 to 31536000000",
    ),
    ({"retry": RetryPolicy(3, delays_ms=(1,) * 101)}, "tasks[0].retry.delays_ms: 101 items; 0 to 100"),
    ({"dependencies": A}, "tasks[0].dependencies: 16 bytes is not a list"),
    ({"dependencies": (A, b"")}, "tasks[0].dependencies[1]: 0 bytes; an id is 16 bytes"),
    ({"dependencies": (A, b"b" * 16, A)}, "tasks[0].dependencies[2]: the same id stands at [0]"),
    ({"dependencies": (A,) * 1001}, "tasks[0].dependencies: 1001 items; 0 to 1000"),
    (
        {"unique_key": "k" * 256},
        f"tasks[0].unique_key: '{'k' * 40}'... has 256 characters; 0 to 255 characters",
    ),
    (
        {"unique_ttl_ms": 2**63},
        "tasks[0].unique_ttl_ms: 9223372036854775808 is out of range; 0 to 31536000000",
    ),
    ({"metadata": []}, "tasks[0].metadata: a list of 0 is not a map of text to text"),
    ({"metadata": {"a": 1}}, "tasks[0].metadata['a']: 1 is not text; a map of text to text"),
    ({"metadata": {b"a": "1"}}, "tasks[0].metadata[1 bytes]: 1 bytes is not text; a map of text to text"),
    (
        {"metadata": {"a": "\udfff"}},
        r"tasks[0].metadata['a']: '\udfff' is not valid in UTF-8",
    ),
    (
        {"metadata": {"a": "ß" * 32768}},
        "tasks[0].metadata: 65537 bytes; keys and texts together 0 to 65536",
    ),
    ({"metadata": {str(n): "" for n in range(1001)}}, "tasks[0].metadata: 1001 entries; 0 to 1000"),
]

REQUEST_FAULTS: list[tuple[Request, str]] = [
    (GetTask(A, 300_001), "wait_ms: 300001 is out of range; 0 to 300000"),
    (GetTask(A, with_payload=1), "with_payload: 1 is not true or false"),  # type: ignore[arg-type]
    (GetTask(A, consistency=3), "consistency: 3 is out of range; 0 to 2"),
    (Watch((A, A)), "task_ids[1]: the same id stands at [0]"),
    (Cancel({}), "task_id: a map of 0 is not bytes; an id is 16 bytes"),  # type: ignore[arg-type]
    (Retry(A, -2), "max_retries: -2 is out of range; -1 to 1000"),
    (ListTasks(limit=0), "limit: 0 is out of range; 1 to 1000"),
    (ListTasks(state=10), "state: 10 is out of range; 0 to 9"),
    (ListTasks(offset=100_001), "offset: 100001 is out of range; 0 to 100000"),
    (Purge(0), "state: 0 is out of range; 1 to 9"),
    (PauseQueue("q", "a\tb"), r"reason: 'a\tb' has the character '\t'; no control characters"),
    (Backup(""), "directory: '' has 0 characters; 1 to 4096 characters"),
    (REGISTER._replace(queues=()), "queues: 0 items; 1 to 1000"),
    (REGISTER._replace(task_types=("a", "")), "task_types[1]: '' has 0 characters; 1 to 255 characters"),
    (REGISTER._replace(capacity=10_001), "capacity: 10001 is out of range; 0 to 10000"),
    (REGISTER._replace(holds=((A, 1), (A, 2))), "holds[1]: the same id stands at [0]"),
    (REGISTER._replace(holds=((A,),)), "holds[0]: 1 fields; at least 2 (task_id, token)"),  # type: ignore[arg-type]
    (REGISTER._replace(heartbeat_ms=99), "heartbeat_ms: 99 is out of range; 100 to 3600000"),
    (Heartbeat(progress=((A, 1001, ""),)), "progress[0].permille: 1001 is out of range; 0 to 1000"),
    (Claim(0), "limit: 0 is out of range; 1 to 1000"),
    (Claim(1, 30_001), "wait_ms: 30001 is out of range; 0 to 30000"),
    (
        Settle((SettleItem(A, 1), SettleItem(A, -1))),
        "items[1].token: -1 is out of range; 0 to 9223372036854775807",
    ),
    (Settle((SettleItem(A, 1, 9),)), "items[0].cause: 9 is out of range; 0 to 8"),
    (Settle((SettleItem(A, 1, 1, b"", 5),)), "items[0].error: 5 is not text; 0 to 16384 characters"),  # type: ignore[arg-type]
    (
        Settle((SettleItem(A, 1, 1, b"", "\ud800"),)),
        r"items[0].error: '\ud800' has the character '\ud800', which UTF-8 does not have",
    ),
    (Settle((SettleItem(A, 1, delay_ms=-2),)), "items[0].delay_ms: -2 is out of range; -1 to 31536000000"),
    (Extend(((A, 1, 0),)), "items[0].ms: 0 is out of range; 1 to 2592000000"),
    (Submit((TASK,) * 10_001), "tasks: 10001 items; 0 to 10000"),
    (Submit(5), "tasks: 5 is not a list"),  # type: ignore[arg-type]
    (Submit((5,)), "tasks[0]: 5 is not a list of fields"),  # type: ignore[arg-type]
    (Submit(((A,),)), "tasks[0]: 1 fields; at least 2 (task_id, task_type)"),  # type: ignore[arg-type]
]


def fault_of(request: Request) -> str:
    with pytest.raises(BadRequest) as caught:
        check_request(request)
    return caught.value.text


def batch(size: int, at: int, task: Any) -> tuple[TaskSpec, ...]:
    """size right tasks, with another one in one place."""
    tasks: list[Any] = [tuple(TaskSpec(n.to_bytes(16, "big"), "echo")) for n in range(size)]
    tasks[at] = task
    return tuple(tasks)


@pytest.mark.parametrize(("changes", "text"), TASK_FAULTS, ids=lambda value: str(value)[:40])
def test_wrong_field_of_a_task_is_named(changes: dict[str, Any], text: str) -> None:
    assert fault_of(Submit((TASK._replace(**changes),))) == text


@pytest.mark.parametrize(("changes", "text"), TASK_FAULTS, ids=lambda value: str(value)[:40])
def test_wrong_field_in_a_long_batch_is_named_with_its_place(changes: dict[str, Any], text: str) -> None:
    """Long batches are checked by columns; what they say must be the same."""
    tasks = batch(20, 13, tuple(TASK._replace(**changes)))

    assert fault_of(Submit(tasks)) == text.replace("tasks[0]", "tasks[13]", 1)


@pytest.mark.parametrize(("request_", "text"), REQUEST_FAULTS, ids=lambda value: str(value)[:40])
def test_wrong_field_of_a_request_is_named(request_: Request, text: str) -> None:
    assert fault_of(request_) == text


def test_fields_that_do_not_go_together_are_named_like_wrong_ones() -> None:
    lonely = TASK._replace(unique_key="", unique_ttl_ms=5)

    with pytest.raises(BadRequest, match=r"tasks\[1\].*unique_ttl"):
        check_tasks((TASK, lonely))
    with pytest.raises(BadRequest, match=r"tasks\[0\].*unique_ttl.*tasks\[1\]\.priority"):
        check_tasks((lonely, TASK._replace(task_id=b"b" * 16, priority=256)))


def test_too_large_payload_is_its_own_error() -> None:
    task = TASK._replace(payload=bytes(PAYLOAD_BYTES_MAX + 1))

    with pytest.raises(PayloadTooLarge, match=r"^tasks\[0\]\.payload: 10485761 bytes; 0 to 10485760$"):
        check_request(Submit((task,)))
    with pytest.raises(PayloadTooLarge, match=r"^tasks\[9\]\.payload: 10485761 bytes; 0 to 10485760$"):
        check_request(Submit(batch(10, 9, tuple(task))))


def test_largest_values_of_every_field_pass() -> None:
    task = TaskSpec(
        task_id=A,
        task_type="n" * 255,
        payload=bytes(PAYLOAD_BYTES_MAX),
        queue="ß" * 255,
        priority=255,
        schedule_at_ms=limits.TIME_MS_MAX,
        delay_ms=365 * 24 * 3600 * 1000,
        timeout_ms=30 * 24 * 3600 * 1000,
        max_retries=1000,
        retry=RetryPolicy(3, 1, 1000, 0, 1000, (0,) * 100),
        dependencies=tuple(n.to_bytes(16, "big") for n in range(1000)),
        expires_at_ms=limits.TIME_MS_MAX,
        unique_key="k" * 255,
        unique_ttl_ms=1,
        metadata={"a": "x" * 65535},
    )

    assert check_request(Submit((task,))) == Submit((task,))


def test_long_batch_of_another_door_is_read_like_one_of_the_wire() -> None:
    tasks = [TaskSpec(n.to_bytes(16, "big"), "echo", retry=RetryPolicy(base_ms=n)) for n in range(20)]

    assert check_tasks(tasks) == tuple(tasks)
    tasks[3] = tasks[3]._replace(retry=RetryPolicy(CUSTOM))
    with pytest.raises(BadRequest, match=r"^tasks\[3\]\.retry\.delays_ms: 0 items; the custom"):
        check_tasks(tasks)
    tasks[3] = tasks[3]._replace(retry=RetryPolicy(base_ms=-1))
    with pytest.raises(BadRequest, match=r"^tasks\[3\]\.retry\.base_ms: -1 is out of range"):
        check_tasks(tasks)


@pytest.mark.parametrize("size", [2, 50])
def test_same_id_twice_in_a_batch_is_refused(size: int) -> None:
    tasks = batch(size, size - 1, TaskSpec((0).to_bytes(16, "big"), "other"))

    assert fault_of(Submit(tasks)) == f"tasks[{size - 1}]: the same id stands at [0], with other fields"


@pytest.mark.parametrize("size", [2, 50])
def test_the_very_same_task_twice_in_a_batch_is_one_task(size: int) -> None:
    tasks = batch(size, size - 1, TaskSpec((0).to_bytes(16, "big"), "other"))
    tasks = (*tasks[:-1], tasks[0])

    assert check_request(Submit(tasks)) == Submit(tasks)


@pytest.mark.parametrize("size", [1, 50])
def test_a_unique_ttl_without_its_key_is_refused_by_name(size: int) -> None:
    tasks = batch(size, size - 1, TaskSpec(b"b" * 16, "other", unique_ttl_ms=1))

    assert fault_of(Submit(tasks)) == f"tasks[{size - 1}].unique_ttl_ms: is given without a unique_key"


@pytest.mark.parametrize("short", [(A,), 7, None])
def test_task_without_enough_fields_in_a_long_batch_is_named(short: object) -> None:
    assert fault_of(Submit(batch(20, 4, short))).startswith("tasks[4]: ")


def test_rows_of_different_lengths_become_the_same_tasks() -> None:
    """Fields left out, fields nobody knows, and all of them in one batch."""
    full = [TaskSpec(n.to_bytes(16, "big"), "echo", priority=n, metadata={"n": str(n)}) for n in range(20)]
    plain = [TaskSpec(n.to_bytes(16, "big"), "echo") for n in range(20)]
    rows: list[Any] = [tuple(full[n]) if n % 3 else tuple(plain[n])[:2] for n in range(20)]
    rows[7] = (*full[7], "from the future")

    tasks = check_tasks(rows)

    assert tasks == tuple(full[n] if n % 3 else plain[n] for n in range(20))
    assert {type(task) for task in tasks} == {TaskSpec}


def test_rows_longer_than_known_are_cut_in_a_long_batch() -> None:
    rows: list[Any] = [(*TaskSpec(n.to_bytes(16, "big"), "echo"), 1, 2) for n in range(20)]

    assert check_tasks(rows) == tuple(TaskSpec(n.to_bytes(16, "big"), "echo") for n in range(20))


def test_fault_in_tasks_of_another_door_has_the_same_text() -> None:
    with pytest.raises(BadRequest, match=r"^tasks\[0\]\.priority: 300 is out of range; 0 to 255$"):
        check_tasks([TASK._replace(priority=300)])


def test_enum_members_become_plain_numbers() -> None:
    (task,) = check_tasks([TASK._replace(priority=Priority.HIGH)])
    settle = check_request(Settle(tuple(SettleItem(A, n, Cause.ERROR) for n in range(20))))

    assert type(task.priority) is int and task.priority == 200
    assert {type(item.cause) for item in settle.items} == {int}


def test_lists_become_tuples() -> None:
    request = check_request(REGISTER._replace(queues=["a", "b"]))  # type: ignore[arg-type]

    assert request.queues == ("a", "b")


def test_names_may_hold_any_letters_and_spaces() -> None:
    """No-break and ideographic space, an emoji with a joiner: odd, but nothing breaks on them."""
    for name in ("größe", "a b", "\u00a0\u3000", "\U0001f468\u200d\U0001f469", "x" * 255):
        assert check_tasks([TASK._replace(task_type=name)])[0].task_type == name
        assert check_request(Submit(batch(9, 0, (A, name)))).tasks[0].task_type == name


@pytest.mark.parametrize("size", [1, 20])
def test_too_long_error_text_is_cut_and_says_so(size: int) -> None:
    traceback = "Traceback" + "." * ERROR_CHARS_MAX + "ValueError: no"
    items = tuple(SettleItem(A, n, 1, b"", traceback) for n in range(size))

    settle = check_request(Settle(items))

    for item in settle.items:
        assert len(item.error) == ERROR_CHARS_MAX
        assert item.error.startswith("Traceback...")
        assert f"\n[the middle of {len(traceback)} characters was cut]\n" in item.error
        assert item.error.endswith("...ValueError: no")


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (1, -1, "items[7].token: -1 is out of range; 0 to 9223372036854775807"),
        (3, "ok", "items[7].result: 'ok' is not bytes; 0 to 10485760 bytes"),
        (4, 5, "items[7].error: 5 is not text; 0 to 16384 characters"),
    ],
)
def test_wrong_item_in_a_long_settle_is_named(place: int, value: object, text: str) -> None:
    items: list[Any] = [[A, n, 1, b"", "boom"] for n in range(20)]
    items[7][place] = value

    assert fault_of(Settle(tuple(SettleItem(*item) for item in items))) == text


def test_empty_batches_are_allowed() -> None:
    for request in (Submit(()), Settle(()), Extend(()), Watch(())):
        assert check_request(request) == request
