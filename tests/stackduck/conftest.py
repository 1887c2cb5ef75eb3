"""One Redis and one PostgreSQL for all tests of a process; every test has a database of its own and an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.servers import PostgresServer, RedisServer
from tests.stackduck.serving import Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with RedisServer() as redis, PostgresServer(fsync=False) as postgres:
        yield Servers(redis, postgres)
