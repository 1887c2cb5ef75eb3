"""Many jobs added at once: in their order, each once, and what one try did not queue the next one does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from lab.servers import RabbitServer
from tests.rustq.places import Deployment
from tq.client.rustq import JobOptions, amqp, publisher
from tq.client.rustq.deployment import ADDED_AT_ONCE_MAX
from tq.errors import BadRequest, OutcomeUnknown


def test_more_jobs_than_go_together_are_queued_in_their_order_and_kept(deployment: Deployment) -> None:
    async def scene() -> None:
        total = 2 * ADDED_AT_ONCE_MAX + 7
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            ids = await queue.add_many("work", range(total))
            main = await channel.get_queue(deployment.name)
            found = list[dict[str, Any]]()
            async with main.iterator(no_ack=True) as messages:
                while len(found) < total:
                    found.append(json.loads((await anext(messages)).body))
            assert [each["id"] for each in found] == ids
            assert [bytes(each["payload"]) for each in found] == [b"%d" % number for number in range(total)]
            assert len(await queue.storage.get_documents(ids)) == total
            assert all(await redis.smismember("jobs:Pending", ids))

    asyncio.run(scene())


def test_a_lot_whose_queue_was_deleted_is_queued_all_the_same(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            await queue.add("work", 0)
            await channel.queue_delete(deployment.name)
            ids = await queue.add_many("work", range(20))
            main = await channel.get_queue(deployment.name)
            found = [json.loads((await main.get(no_ack=True)).body)["id"] for _ in ids]
            assert Counter(found) == Counter(ids)

    asyncio.run(scene())


def test_jobs_of_a_lot_that_cannot_be_queued_leave_no_record(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            await channel.declare_queue(f"{deployment.name}.tq.delay.200", durable=True)
            before = await redis.scard("jobs:Pending")
            with pytest.raises(BadRequest, match="other arguments"):
                await queue.add_many("work", range(5), JobOptions(delay="200ms"))
            assert await redis.scard("jobs:Pending") == before

    asyncio.run(scene())


def test_a_lot_that_rabbitmq_does_not_confirm_in_time_is_unknown_and_keeps_its_records(
    deployment: Deployment, rabbit_server: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with deployment.queue(timeout="3s") as queue, deployment.stores() as (redis, _):
            await queue.add("work", 0)
            before = await redis.scard("jobs:Pending")
            monkeypatch.setattr(publisher, "CONFIRM_SECONDS", 0.2)
            for name in ("CONNECT_SECONDS", "RPC_SECONDS", "CLOSE_SECONDS"):
                monkeypatch.setattr(amqp, name, 0.2)
            rabbit_server.pause()
            try:
                adding = asyncio.ensure_future(queue.add_many("work", range(3)))
                with pytest.raises(OutcomeUnknown):
                    await adding
            finally:
                rabbit_server.resume()
            assert await redis.scard("jobs:Pending") == before + 3

    asyncio.run(scene())
