"""One Redis, one RabbitMQ and one broker for all tests of a process; every test has a queue of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from lab.processes import broker_address, start_broker
from lab.servers import RabbitServer, RedisServer
from tests.rustq.places import Deployment, Place


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[RabbitServer]:
    with RabbitServer() as server:
        yield server


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tq broker."""
    with start_broker(tmp_path_factory.mktemp("broker")) as process:
        yield broker_address(process)


@pytest.fixture
def deployment(redis_server: RedisServer, rabbit_server: RabbitServer) -> Deployment:
    """A queue in RabbitMQ and Redis that nobody else uses."""
    return Deployment(f"queue-{uuid.uuid4().hex[:8]}", redis_server, rabbit_server)


@pytest.fixture(params=["deployment", "broker"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same queue on a rustq deployment and on a tq broker."""
    if request.param == "broker":
        address = request.getfixturevalue("broker")
        return Place(f"queue-{uuid.uuid4().hex[:8]}", f"tq://{address}", "")
    deployment: Deployment = request.getfixturevalue("deployment")
    return deployment
