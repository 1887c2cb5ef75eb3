"""The rules of the `ReplicatedLog` port, kept by every driver on one node; `tests/replication` has those of several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.replication.live import lonely_raft
from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.replication.log import ReplicatedLog
from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable, StoreDamaged, Unsupported


class Node:
    """One driver under test, on a directory that outlives it."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self.errors: list[BaseException] = []
        self.committed: list[tuple[int, bytes]] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ReplicatedLog]:
        """The log, not started yet."""
        self.committed.clear()
        journal = Journal.open(str(self._path), create=not self._path.exists())
        disk = DiskThread(asyncio.get_running_loop(), self.errors.append)
        disk.start()
        log = self._make(journal, disk)
        try:
            yield log
        finally:
            await log.close()
            await disk.stop()
            journal.close()
        assert not self.errors

    def _make(self, journal: Journal, disk: DiskThread) -> ReplicatedLog:
        if self._kind == "raft of one":
            return lonely_raft(journal, disk, self.errors.append)
        relaxed_ms = 20 if "relaxed" in self._kind else None
        return LocalLog(journal, disk, self.errors.append, relaxed_ms=relaxed_ms)

    def note(self, index: int, data: bytes) -> None:
        self.committed.append((index, data))


@pytest.fixture(params=["local", "local, relaxed", "raft of one"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path / "journal", request.param)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 90))


def test_entries_that_follow_each_other_are_numbered_without_gaps(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            assert (log.first_index, log.last_index) == (1, 0)
            await log.start(0, node.note)
            indexes = [await log.propose(b"%d" % n) for n in range(5)]
            assert indexes == list(range(indexes[0], indexes[0] + 5))
            assert (log.first_index, log.last_index) == (1, indexes[-1])

    run(test)


def test_commit_is_told_before_the_future_resolves_and_with_the_object_proposed(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            await log.start(0, node.note)
            data = bytes(bytearray(b"mine"))
            index = await log.propose(data)
            assert node.committed == [(index, data)]
            assert node.committed[0][1] is data

    run(test)


def test_next_entry_may_be_proposed_from_within_commit(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            seen: list[bytes] = []
            last: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            def chain(index: int, data: bytes) -> None:
                seen.append(data)
                if len(seen) == 3:
                    last.set_result(index)
                else:
                    log.propose(b"next")

            await log.start(0, chain)
            log.propose(b"first")
            await last
            assert seen == [b"first", b"next", b"next"]

    run(test)


def test_restart_replays_every_entry_above_the_one_given_in_order(node: Node) -> None:
    async def test() -> None:
        entries = [bytes([n]) * 100 for n in range(1, 31)]
        async with node.opened() as log:
            await log.start(0, node.note)
            indexes = [await log.propose(data) for data in entries]
        async with node.opened() as log:
            await log.start(indexes[11], node.note)
            assert node.committed == list(zip(indexes, entries, strict=True))[12:]
            later = await log.propose(b"later")
            assert later > indexes[-1]
        async with node.opened() as log:
            await log.start(later, node.note)
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
            index = future.result()
            with pytest.raises(BrokerUnavailable):
                await log.propose(b"too late")
            await log.close()
        async with node.opened() as log:
            await log.start(0, node.note)
            assert node.committed == [(index, b"in flight")]

    run(test)


def test_proposing_while_one_is_in_flight_is_a_programmers_error(node: Node) -> None:
    async def test() -> None:
        async with node.opened() as log:
            await log.start(0, node.note)
            first = log.propose(b"one")
            with pytest.raises(AssertionError):
                log.propose(b"two")
            assert await first == log.last_index

    run(test)


def test_release_forgets_old_entries_and_never_what_was_not_released(node: Node) -> None:
    async def test() -> None:
        data = bytes(1_000_000)
        async with node.opened() as log:
            await log.start(0, node.note)
            indexes = [await log.propose(data) for _ in range(100)]
            log.release(30)
            assert 1 < log.first_index <= 31
            indexes.append(await log.propose(b"takes the trimming with it"))
        async with node.opened() as log:
            assert 1 < log.first_index <= 31
            with pytest.raises(StoreDamaged, match="begins with entry"):
                await log.start(0, node.note)
        async with node.opened() as log:
            await log.start(60, node.note)
            assert [index for index, _ in node.committed] == [index for index in indexes if index > 60]

    run(test)


def test_journal_of_a_broker_alone_does_not_become_a_clusters_and_the_other_way_round(tmp_path: Path) -> None:
    async def test() -> None:
        for first, second in (("local", "raft of one"), ("raft of one", "local")):
            path = tmp_path / first
            async with Node(path, first).opened() as log:
                await log.start(0, lambda *_: None)
                await log.propose(b"x")
            other = Node(path, second)
            async with other.opened() as log:
                with pytest.raises(Unsupported):
                    await log.start(0, other.note)
            assert other.committed == []

    run(test)
