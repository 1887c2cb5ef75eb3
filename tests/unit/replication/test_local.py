"""The log of one node: failing disks, a store that is ahead or behind, the relaxed mode."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable, OutcomeUnknown, StoreDamaged


@asynccontextmanager
async def on_disk(
    journal: Journal, errors: list[BaseException], *, relaxed_ms: int | None = None
) -> AsyncIterator[LocalLog]:
    disk = DiskThread(asyncio.get_running_loop(), errors.append)
    disk.start()
    log = LocalLog(journal, disk, errors.append, relaxed_ms=relaxed_ms)
    try:
        yield log
    finally:
        await log.close()
        await disk.stop()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 90))


def ignore(index: int, data: bytes) -> None:
    pass


class FailingJournal(Journal):
    """A journal whose disk fails when told to."""

    is_failing = False

    def sync(self) -> None:
        if self.is_failing:
            raise OSError(errno.EIO, "the disk is gone")
        super().sync()


def test_failed_sync_is_fatal_leaves_the_outcome_unknown_and_is_not_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        journal = FailingJournal.open(str(tmp_path / "j"), create=True)
        assert isinstance(journal, FailingJournal)
        errors: list[BaseException] = []
        committed: list[int] = []
        async with on_disk(journal, errors) as log:
            await log.start(0, lambda index, data: committed.append(index))
            assert await log.propose(b"good") == 1
            journal.is_failing = True
            with pytest.raises(OutcomeUnknown, match="the disk is gone"):
                await log.propose(b"lost")
            assert [str(error) for error in errors] == ["[Errno 5] the disk is gone"]
            assert not log.is_leader
            with pytest.raises(BrokerUnavailable, match="the journal failed"):
                await log.propose(b"later")
        assert committed == [1]
        assert len(errors) == 1
        journal.is_failing = False
        journal.close()

    run(test)


FULL_DISK = """
import asyncio, resource, signal, sys
from tests.unit.replication.test_local import Journal, on_disk
async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal.open(sys.argv[1], create=True)
    errors = []
    async with on_disk(journal, errors) as log:
        await log.start(0, lambda index, data: print("committed", index))
        await log.propose(bytes(1000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        for _ in range(1000):
            try:
                await log.propose(bytes(1000))
            except Exception as error:
                print(type(error).__name__, [type(e).__name__ for e in errors])
                break
    try:
        journal.sync()
    except OSError as error:
        print("refused")
    journal.close()
asyncio.run(main())
"""


def test_write_the_file_system_refuses_stops_the_journal_and_loses_nothing_committed(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "j")], capture_output=True, text=True, timeout=90
    )

    *committed, failure, after = result.stdout.splitlines()
    assert failure == "OutcomeUnknown ['OSError']", result.stderr
    assert after == "refused"
    journal = Journal.open(str(tmp_path / "j"), create=False)
    assert journal.last_index >= len(committed) > 0
    journal.close()


def test_store_that_is_ahead_of_a_strict_journal_is_damage(tmp_path: Path) -> None:
    async def test() -> None:
        journal = Journal.open(str(tmp_path / "j"), create=True)
        errors: list[BaseException] = []
        async with on_disk(journal, errors) as log:
            await log.start(0, ignore)
            await log.propose(b"x")
        async with on_disk(journal, errors) as log:
            with pytest.raises(StoreDamaged, match="ends with entry 1 and the store with entry 2"):
                await log.start(2, ignore)
        journal.close()
        assert errors == []

    run(test)


def test_store_that_is_ahead_after_a_power_cut_under_relaxed_is_gone_on_from(tmp_path: Path) -> None:
    async def test() -> None:
        errors: list[BaseException] = []
        journal = Journal.open(str(tmp_path / "j"), create=True)
        # Neither closed nor synced since: what a loss of power leaves is the mark that says `relaxed`.
        journal.append(1, b"one")
        journal.set_relaxed(True)
        journal.close()
        journal = Journal.open(str(tmp_path / "j"), create=False)
        async with on_disk(journal, errors) as log:
            await log.start(7, ignore)
            assert await log.propose(b"eight") == 8
        journal.close()
        journal = Journal.open(str(tmp_path / "j"), create=False)
        assert (journal.first_index, journal.last_index) == (8, 8)
        assert not journal.is_relaxed
        journal.close()
        assert errors == []

    run(test)


def test_relaxed_log_says_so_until_it_is_closed_well(tmp_path: Path) -> None:
    async def test() -> None:
        errors: list[BaseException] = []
        journal = Journal.open(str(tmp_path / "j"), create=True)
        async with on_disk(journal, errors, relaxed_ms=10) as log:
            await log.start(0, ignore)
            assert journal.is_relaxed
            assert await log.propose(b"x") == 1
        assert not journal.is_relaxed
        journal.close()
        assert errors == []

    run(test)


def test_relaxed_log_syncs_within_its_time(tmp_path: Path) -> None:
    synced, may_sync = asyncio.Event(), threading.Event()

    class SyncingJournal(Journal):
        loop: asyncio.AbstractEventLoop | None = None

        def sync(self) -> None:
            if self.loop is not None:
                may_sync.wait(60)
            super().sync()
            if self.loop is not None:
                self.loop.call_soon_threadsafe(synced.set)

    async def test() -> None:
        errors: list[BaseException] = []
        journal = SyncingJournal.open(str(tmp_path / "j"), create=True)
        assert isinstance(journal, SyncingJournal)
        async with on_disk(journal, errors, relaxed_ms=5) as log:
            await log.start(0, ignore)
            journal.loop = asyncio.get_running_loop()
            assert await log.propose(b"x") == 1
            assert not synced.is_set()
            may_sync.set()
            await asyncio.wait_for(synced.wait(), 60)
        journal.close()
        assert errors == []

    run(test)
