"""A worker in another language is drained: its stream says so, and brings nothing more."""

from __future__ import annotations

from tests.grpc.serving import run, serving
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Drained, DrainWorker


def test_a_drained_worker_is_told_and_brought_nothing_more() -> None:
    async def scenario() -> None:
        async with serving() as here:
            worker = await here.client.worker("echo", capacity=2)
            running = await here.client.submit()
            delivery = await worker.delivery()

            assert isinstance(await here.engine.call(DrainWorker("w1")), Drained)
            await worker.until(lambda: worker.drains)
            waiting = await here.client.submit()
            await worker.settle(delivery, result=b"done")

            assert worker.drains[0].reason
            assert (await here.client.status(running)).status == pb.TASK_STATUS_COMPLETED
            assert (await here.client.status(waiting)).status == pb.TASK_STATUS_PENDING
            await worker.send(deregister=True)

    run(scenario())
