"""From messages to verbs: what workers send. Pure. All raise BadRequest that names each wrong field."""

from __future__ import annotations

from tq.broker.api.grpc.findings import Findings
from tq.proto import taskqueue_pb2 as pb
from tq.protocol.limits import HEARTBEAT_MS_ADVISED, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN
from tq.protocol.validate import check_request
from tq.retry import DELAY_MS_MAX
from tq.task import DEFAULT_QUEUE, TIMEOUT_MS_MAX
from tq.verbs import Extend, Heartbeat, Register, SetCapacity, Settle, SettleItem


def register_of(asked: pb.Register) -> Register:
    found = Findings()
    heartbeat_ms = HEARTBEAT_MS_ADVISED
    if asked.heartbeat_seconds:
        field = "register.heartbeat_seconds"
        heartbeat_ms = found.ms(asked.heartbeat_seconds, field, HEARTBEAT_MS_MAX, low_ms=HEARTBEAT_MS_MIN)
    session_id = found.id(asked.session_id, "register.session_id")
    holds = [
        (found.id(held.task_id, f"register.holds[{place}].task_id"), held.token)
        for place, held in enumerate(asked.holds)
    ]
    found.tell()
    return check_request(
        Register(
            session_id,
            asked.worker_id,
            tuple(asked.queues) or (DEFAULT_QUEUE,),
            tuple(asked.task_types),
            asked.capacity,
            tuple(holds),
            heartbeat_ms,
            asked.host,
            asked.pid,
            asked.version,
        )
    )


def settle_of(request: pb.WorkRequest) -> Settle:
    found = Findings()
    items = []
    for place, each in enumerate(request.settlements):
        delay_ms = -1
        if each.HasField("delay_seconds"):
            delay_ms = found.ms(each.delay_seconds, f"settlements[{place}].delay_seconds", DELAY_MS_MAX)
        task_id = found.id(each.task_id, f"settlements[{place}].task_id")
        items.append(SettleItem(task_id, each.token, each.cause, each.result, each.error, delay_ms))
    found.tell()
    return check_request(Settle(tuple(items)))


def extend_of(request: pb.WorkRequest) -> Extend:
    found = Findings()
    items = [
        (
            found.id(each.task_id, f"extensions[{place}].task_id"),
            each.token,
            found.ms(each.seconds, f"extensions[{place}].seconds", TIMEOUT_MS_MAX, low_ms=1),
        )
        for place, each in enumerate(request.extensions)
    ]
    found.tell()
    return check_request(Extend(tuple(items)))


def capacity_of(request: pb.WorkRequest) -> SetCapacity:
    return check_request(SetCapacity(request.capacity))


def heartbeat_of(beat: pb.Heartbeat) -> Heartbeat:
    found = Findings()
    progress = [
        (
            found.id(each.task_id, f"progress[{place}].task_id"),
            found.ms(each.fraction, f"progress[{place}].fraction", 1000),
            each.text,
        )
        for place, each in enumerate(beat.progress)
    ]
    found.tell()
    return check_request(Heartbeat(beat.running, beat.cpu_percent, beat.memory_bytes, tuple(progress)))
