"""A worker that knows nothing of tq but its .proto file: `python -m examples.grpc_worker HOST:PORT`.

It serves the task types `upper` and `sum`, and comes back when the broker does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc

from tq.proto import taskqueue_pb2 as pb
from tq.proto import taskqueue_pb2_grpc as stubs

HANDLERS: dict[str, Callable[[bytes], bytes]] = {
    "upper": lambda data: data.upper(),
    "sum": lambda data: str(sum(json.loads(data))).encode(),
}
SESSION_ID = str(uuid.uuid4())
BEAT_S, BACK_OFF_S = 5.0, 0.2


def run(delivery: pb.Delivery) -> pb.Settlement:
    """One attempt and how it ended. A handler that takes longer would run in a thread of its own."""
    settlement = pb.Settlement(task_id=delivery.task_id, token=delivery.token)
    try:
        settlement.result = HANDLERS[delivery.task_type](delivery.payload)
    except Exception as error:  # noqa: BLE001  a handler may raise anything
        settlement.cause, settlement.error = pb.Settlement.ERROR, repr(error)
    return settlement


async def beat(call: Any) -> None:
    while True:
        await asyncio.sleep(BEAT_S)
        await call.write(pb.WorkRequest(heartbeat=pb.Heartbeat()))


async def work(channel: grpc.aio.Channel, open_items: list[pb.Settlement]) -> None:
    """One stream, until it breaks. open_items: settled and not yet known to be taken; said again after a break."""
    call = stubs.TaskQueueStub(channel).Work()  # type: ignore[no-untyped-call]
    holds = [pb.Lease(task_id=item.task_id, token=item.token) for item in open_items]
    register = pb.Register(
        session_id=SESSION_ID, worker_id=f"py-{os.getpid()}", task_types=HANDLERS, capacity=100, holds=holds
    )
    await call.write(pb.WorkRequest(register=register))
    await call.write(pb.WorkRequest(request_id=1, settlements=open_items))
    beating, sent, number = asyncio.ensure_future(beat(call)), {1: list(open_items)}, 1
    try:
        async for message in call:
            for answer in message.answers:
                for item in sent.pop(answer.request_id, []):
                    open_items.remove(item)
            if message.deliveries:
                number += 1
                sent[number] = [run(delivery) for delivery in message.deliveries]
                open_items += sent[number]
                await call.write(pb.WorkRequest(request_id=number, settlements=sent[number]))
    finally:
        beating.cancel()


async def main(address: str) -> None:
    open_items: list[pb.Settlement] = []
    async with grpc.aio.insecure_channel(address) as channel:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await work(channel, open_items)
            await asyncio.sleep(BACK_OFF_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
