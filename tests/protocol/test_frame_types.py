"""The numbers are complete, and none ever means something else."""

from __future__ import annotations

from typing import Any, get_args

from tq import verbs
from tq.protocol.answers import PUSHES, REPLIES
from tq.protocol.frame_types import PUSH_OF_TYPE, REQUEST_OF_TYPE, TYPE_OF, FrameType
from tq.protocol.requests import REQUESTS
from tq.task import TaskSpec

GOLDEN = {
    1: "SUBMIT_TASK",
    2: "CLAIM_TASK",
    3: "TASK_RESULT",
    4: "HEARTBEAT",
    5: "ACK",
    6: "NACK",
    7: "QUERY_STATUS",
    8: "CANCEL_TASK",
    9: "LIST_TASKS",
    10: "STATS",
    16: "HELLO",
    17: "WELCOME",
    18: "CLOSE",
    19: "REGISTER",
    20: "SET_CAPACITY",
    21: "EXTEND",
    22: "DEREGISTER",
    23: "DELIVER",
    24: "ABORT",
    25: "WATCH",
    26: "TASK_ENDED",
    27: "DRAINING",
    28: "PING",
    29: "RETRY_TASK",
    30: "PURGE",
    31: "PAUSE_QUEUE",
    32: "RESUME_QUEUE",
    33: "LIST_WORKERS",
    34: "GET_CLUSTER",
    35: "GET_HEALTH",
    36: "BACKUP",
    37: "ADD_NODE",
    38: "REMOVE_NODE",
    39: "TRANSFER_LEADERSHIP",
    40: "DRAIN_WORKER",
    41: "GET_SERIES",
    42: "LIST_QUEUES",
    43: "LIST_FAILURES",
    44: "GROUP_DEAD_LETTERS",
    45: "CANCEL_MANY",
    46: "RETRY_MANY",
    47: "FORGET_MANY",
    48: "DRAIN",
    49: "IMPORT_TASKS",
}
"""Only ever added to: a number that was released keeps its meaning, also after its frame is gone."""


def fields_of(kind: Any) -> tuple[str, ...]:
    return tuple(kind._fields)


def test_no_number_changes_its_meaning() -> None:
    assert {int(kind): kind.name for kind in FrameType} == GOLDEN


def test_every_request_has_a_number_and_a_shape() -> None:
    requests = set(get_args(verbs.Request))

    assert set(REQUESTS) == requests
    assert {record.kind for record in REQUEST_OF_TYPE.values()} == requests
    assert set(verbs.REPLY_OF) == requests


def test_every_reply_has_a_shape() -> None:
    assert set(REPLIES) == set(get_args(verbs.Reply))


def test_every_push_has_a_number_and_a_shape() -> None:
    pushes = set(get_args(verbs.Push))

    assert set(PUSHES) == pushes
    assert {record.kind for record in PUSH_OF_TYPE.values()} == pushes


def test_no_two_classes_share_a_number() -> None:
    assert len(set(TYPE_OF.values())) == len(TYPE_OF)


def test_shapes_name_the_fields_of_their_classes_in_order() -> None:
    records = [*REQUESTS.values(), *REPLIES.values(), *PUSHES.values()]

    assert [record.names for record in records] == [fields_of(record.kind) for record in records]


def test_submit_carries_tasks_as_they_stand_in_the_vocabulary() -> None:
    submit = REQUESTS[verbs.Submit].read((((b"i" * 16, "echo"),),))

    assert submit == verbs.Submit((TaskSpec(b"i" * 16, "echo"),))
    assert type(submit[0][0]) is TaskSpec
