"""From messages to verbs: what workers send. Pure; what is out of bounds is found by `check_request`."""

from __future__ import annotations

from tq.broker.api.grpc.ids import read_id
from tq.broker.api.grpc.tasks_in import to_ms
from tq.proto import taskqueue_pb2 as pb
from tq.protocol.limits import HEARTBEAT_MS_ADVISED, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN
from tq.protocol.validate import check_request
from tq.retry import DELAY_MS_MAX
from tq.task import DEFAULT_QUEUE, TIMEOUT_MS_MAX
from tq.verbs import Extend, Heartbeat, Register, SetCapacity, Settle, SettleItem


def register_of(asked: pb.Register) -> Register:
    """Raises BadRequest, as all here."""
    heartbeat_ms = HEARTBEAT_MS_ADVISED
    if asked.heartbeat_seconds:
        field = "register.heartbeat_seconds"
        heartbeat_ms = to_ms(asked.heartbeat_seconds, field, HEARTBEAT_MS_MAX, low_ms=HEARTBEAT_MS_MIN)
    return check_request(
        Register(
            read_id(asked.session_id, "register.session_id"),
            asked.worker_id,
            tuple(asked.queues) or (DEFAULT_QUEUE,),
            tuple(asked.task_types),
            asked.capacity,
            tuple((read_id(held.task_id, "register.holds"), held.token) for held in asked.holds),
            heartbeat_ms,
            asked.host,
            asked.pid,
            asked.version,
        )
    )


def settle_of(request: pb.WorkRequest) -> Settle:
    items = []
    for each in request.settlements:
        delay_ms = -1
        if each.HasField("delay_seconds"):
            delay_ms = to_ms(each.delay_seconds, "settlements.delay_seconds", DELAY_MS_MAX)
        task_id = read_id(each.task_id, "settlements.task_id")
        items.append(SettleItem(task_id, each.token, each.cause, each.result, each.error, delay_ms))
    return check_request(Settle(tuple(items)))


def extend_of(request: pb.WorkRequest) -> Extend:
    items = (
        (
            read_id(each.task_id, "extensions.task_id"),
            each.token,
            to_ms(each.seconds, "extensions.seconds", TIMEOUT_MS_MAX, low_ms=1),
        )
        for each in request.extensions
    )
    return check_request(Extend(tuple(items)))


def capacity_of(request: pb.WorkRequest) -> SetCapacity:
    return check_request(SetCapacity(request.capacity))


def heartbeat_of(beat: pb.Heartbeat) -> Heartbeat:
    progress = (
        (
            read_id(each.task_id, "progress.task_id"),
            to_ms(each.fraction, "progress.fraction", 1000),
            each.text,
        )
        for each in beat.progress
    )
    return check_request(Heartbeat(beat.running, beat.cpu_percent, beat.memory_bytes, tuple(progress)))
