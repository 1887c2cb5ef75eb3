"""Stores, engines and job types that other packages bring."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.rustq.places import Deployment, ended
from tq.client.rustq import AsyncQueue, WorkerOptions
from tq.client.rustq.redis_storage import RedisStorage
from tq.errors import BadRequest

MODULE = """
from tq.client.rustq.redis_storage import RedisStorage

class Shelf(RedisStorage):
    def __init__(self, url):
        super().__init__(url.replace("shelf://", "redis://"))

SEEN = []

async def greet(data):
    SEEN.append(data)

def count(data):
    SEEN.append(data)
"""
ENTRY_POINTS = """
[tq.rustq.storages]
shelf = a_rustq_plugin:Shelf
broken = a_rustq_plugin_that_is_not_there:Shelf

[tq.rustq.job_types]
greet = a_rustq_plugin:greet
count = a_rustq_plugin:count
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package, as the interpreter sees one."""
    (tmp_path / "a_rustq_plugin.py").write_text(MODULE)
    metadata = tmp_path / "a_rustq_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a-rustq-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_store_and_handlers_of_an_installed_package_are_found_by_their_names(
    deployment: Deployment, plugin: None
) -> None:
    async def scene() -> None:
        url = deployment.redis_url.replace("redis://", "shelf://")
        async with AsyncQueue(deployment.name, url, deployment.amqp_url) as queue:
            assert type(queue.storage).__name__ == "Shelf"
            ids = [await queue.add("greet", "world"), await queue.add("count", 7)]
            worker = queue.create_worker(WorkerOptions(concurrency=1))
            assert worker.process_installed() == ["count", "greet"]
            running = asyncio.create_task(worker.run())
            for job_id in ids:
                await ended(queue, job_id)
            worker.close()
            await running

    asyncio.run(scene())
    import a_rustq_plugin  # type: ignore[import-not-found]

    assert sorted(map(str, a_rustq_plugin.SEEN)) == ["7", "world"]


def test_a_package_that_cannot_be_imported_says_what_to_install(deployment: Deployment, plugin: None) -> None:
    with pytest.raises(BadRequest, match=r"cannot be imported .*tq\[rustq\]"):
        AsyncQueue(deployment.name, "broken://h", deployment.amqp_url)


def test_a_store_of_ones_own_is_used_instead_of_the_one_at_the_address(deployment: Deployment) -> None:
    class Own(RedisStorage):
        """Redis, and something to know it by."""

    async def scene() -> None:
        own = Own(deployment.redis_url)
        async with AsyncQueue(deployment.name, "", deployment.amqp_url, storage=own) as queue:
            assert queue.storage is own
            await own.health_check()

    asyncio.run(scene())


def test_a_broker_takes_no_store(broker: str) -> None:
    with pytest.raises(BadRequest, match="keeps its jobs itself"):
        AsyncQueue("mail", f"tq://{broker}", storage=RedisStorage("redis://127.0.0.1:1"))
