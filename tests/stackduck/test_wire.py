"""Scripts over a connection of one's own: one time-out for question and answer, and a fresh connection after it."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as aioredis

from tests.stackduck.serving import Servers, run
from tq.broker.adapters.stackduck.wire import Script, Wire

ECHO = Script("return ARGV[1]")


def test_silent_redis_is_given_up_in_time_and_its_late_answer_is_nobody_elses(servers: Servers) -> None:
    async def scenario() -> None:
        client = aioredis.Redis.from_url(servers.redis.url, protocol=2)
        wire = Wire(client.connection_pool.make_connection, 1.0)
        assert await wire.run(ECHO, (), ["first"]) == b"first"
        servers.redis.pause()
        try:
            async with asyncio.timeout(10):
                with pytest.raises(TimeoutError):
                    await wire.run(ECHO, (), ["late"])
        finally:
            servers.redis.resume()
        assert await wire.run(ECHO, (), ["next"]) == b"next"
        await wire.close()
        await client.aclose()

    run(scenario())
