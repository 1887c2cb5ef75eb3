"""The rules of the `ReplicatedLog` port, kept by every driver on one node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.replication.log import ReplicatedLog
from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable, StoreDamaged


class Node:
    """One driver under test, on a directory that outlives it."""

    def __init__(self, path: Path, relaxed_ms: int | None) -> None:
        self._path = path
        self._relaxed_ms = relaxed_ms
        self.errors: list[BaseException] = []
        self.committed: list[tuple[int, bytes]] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ReplicatedLog]:
        """The log, not started yet."""
        self.committed.clear()
        journal = Journal.open(str(self._path), create=not self._path.exists())
        disk = DiskThread(asyncio.get_running_loop(), self.errors.append)
        disk.start()
        log = LocalLog(journal, disk, self.errors.append, relaxed_ms=self._relaxed_ms)
        try:
            yield log
        finally:
            await log.close()
            await disk.stop()
            journal.close()
        assert not self.errors

    def note(self, index: int, data: bytes) -> None:
        self.committed.append((index, data))


@pytest.fixture(params=["local", "local, relaxed"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path / "journal", relaxed_ms=20 if "relaxed" in request.param else None)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_entries_are_numbered_from_one_without_gaps(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            assert (log.first_index, log.last_index) == (1, 0)
            await log.start(0, node.note)
            assert [await log.propose(b"%d" % n) for n in range(5)] == [1, 2, 3, 4, 5]
            assert (log.first_index, log.last_index) == (1, 5)

    run(test)


def test_commit_is_told_before_the_future_resolves_and_with_the_object_proposed(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            await log.start(0, node.note)
            data = bytes(bytearray(b"mine"))
            await log.propose(data)
            assert node.committed == [(1, data)]
            assert node.committed[0][1] is data

    run(test)


def test_next_entry_may_be_proposed_from_within_commit(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            last: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            def chain(index: int, data: bytes) -> None:
                if index == 3:
                    last.set_result(index)
                else:
                    log.propose(b"next")

            await log.start(0, chain)
            log.propose(b"first")
            assert await last == 3

    run(test)


def test_restart_replays_every_entry_above_the_one_given_in_order(node: Node) -> None:
    async def test() -> None:
        entries = [bytes([n]) * 100 for n in range(1, 31)]
        async with node.opened() as log:
            await log.start(0, node.note)
            for data in entries:
                await log.propose(data)
        async with node.opened() as log:
            await log.start(12, node.note)
            assert node.committed == [(n, entries[n - 1]) for n in range(13, 31)]
            assert await log.propose(b"later") == 31
        async with node.opened() as log:
            await log.start(31, node.note)
            assert node.committed == []

    run(test)


def test_log_leads_only_once_started(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            assert not log.is_leader
            await log.start(0, node.note)
            assert log.is_leader

    run(test)


def test_closing_waits_for_the_entry_in_flight_and_refuses_later_ones(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            await log.start(0, node.note)
            future = log.propose(b"in flight")
            await log.close()
            assert future.done()
            assert future.result() == 1
            with pytest.raises(BrokerUnavailable):
                await log.propose(b"too late")
            await log.close()
        async with node.opened() as log:
            await log.start(0, node.note)
            assert node.committed == [(1, b"in flight")]

    run(test)


def test_proposing_while_one_is_in_flight_is_a_programmers_error(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            await log.start(0, node.note)
            first = log.propose(b"one")
            with pytest.raises(AssertionError):
                log.propose(b"two")
            assert await first == 1

    run(test)


def test_release_forgets_old_entries_and_never_what_was_not_released(node: Node) -> None:
    async def test() -> None:
        data = bytes(1_000_000)
        async with node.opened() as log:
            await log.start(0, node.note)
            for _ in range(100):
                await log.propose(data)
            log.release(30)
            assert 1 < log.first_index <= 31
            await log.propose(b"takes the trimming with it")
        async with node.opened() as log:
            assert 1 < log.first_index <= 31
            with pytest.raises(StoreDamaged, match="begins with entry"):
                await log.start(0, node.note)
        async with node.opened() as log:
            await log.start(60, node.note)
            assert [index for index, _ in node.committed] == list(range(61, 102))

    run(test)
