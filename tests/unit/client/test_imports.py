"""Ended tasks cut into Import requests that fit the wire."""

from __future__ import annotations

from tq.client.batches import SUBMIT_BYTES_MAX, imports
from tq.ids import new_id
from tq.protocol.limits import CHANGE_TASKS_MAX, FRAME_BYTES_MAX
from tq.protocol.validate import check_request
from tq.task import COMPLETED, EndedTask


def ended(**fields: bytes) -> EndedTask:
    return EndedTask(new_id(), "send", COMPLETED, **fields)  # type: ignore[arg-type]


def test_no_request_has_more_tasks_than_one_may_and_all_keep_their_order() -> None:
    tasks = [ended() for _ in range(2 * CHANGE_TASKS_MAX + 1)]

    parts = [check_request(request).tasks for request in imports(tasks)]

    assert [len(part) for part in parts] == [CHANGE_TASKS_MAX, CHANGE_TASKS_MAX, 1]
    assert [task for part in parts for task in part] == tasks


def test_payloads_and_results_count_towards_the_size_of_a_request() -> None:
    large = SUBMIT_BYTES_MAX // 3
    tasks = [ended(payload=bytes(large), result=bytes(large)) for _ in range(3)]

    parts = [request.tasks for request in imports(tasks)]

    assert [len(part) for part in parts] == [1, 1, 1]
    assert 3 * 2 * large > SUBMIT_BYTES_MAX < FRAME_BYTES_MAX


def test_no_tasks_make_no_request() -> None:
    assert list(imports([])) == []
