"""Snapshots of a real store: made, sent, verified, installed by a start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.replication.live import until
from tq.broker.replication.ports import SnapshotInfo
from tq.broker.replication.records import Link
from tq.broker.replication.snapshot import StoreSnapshots, finish_install
from tq.broker.storage.rocks import RocksStore
from tq.broker.tables import Table
from tq.errors import StoreDamaged

LINK = Link(7, 2, 99)
ROWS = [(Table.META, b"key %d" % number, b"value" * 100) for number in range(500)]


class Side:
    """One node's data directory with what is around its snapshots."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.restarts = 0
        self.errors: list[BaseException] = []
        directory.mkdir(exist_ok=True)

    def open(self, store: RocksStore | None = None) -> StoreSnapshots:
        def checkpoint(target: str, done: Callable[[int | Exception], None]) -> None:
            assert store is not None
            store.checkpoint(target)
            done(LINK.index)

        return StoreSnapshots(
            self.directory,
            asyncio.get_running_loop(),
            checkpoint=checkpoint,
            link=lambda index: LINK,
            members=lambda index: b"members",
            restart=self._restart,
            on_fatal=self.errors.append,
            wake_up=lambda: None,
        )

    def _restart(self) -> None:
        self.restarts += 1


async def made(side: Side) -> tuple[StoreSnapshots, SnapshotInfo]:
    store = RocksStore.open(str(side.directory / "store"), create=True)
    store.write(ROWS)
    snapshots = side.open(store)
    snapshots.make()
    await until(lambda: snapshots.newest() is not None)
    store.close()
    info = snapshots.newest()
    assert info is not None
    return snapshots, info


def copy(
    source: StoreSnapshots, target: StoreSnapshots, info: SnapshotInfo, *, stop: int | None = None
) -> None:
    offset = target.begin(info)
    while offset < (info.size if stop is None else stop):
        data = source.read(info, offset, 5_000)
        assert data
        target.write(info, offset, data)
        offset += len(data)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 120)

    asyncio.run(bounded())


def rows(directory: Path) -> list[tuple[bytes, bytes]]:
    store = RocksStore.open(str(directory / "store"), create=False)
    found = list(store.scan(Table.META))
    store.close()
    return found


def test_snapshot_takes_the_place_of_the_store_at_the_next_start(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = Side(tmp_path / "a"), Side(tmp_path / "b")
        source, info = await made(a)
        old = RocksStore.open(str(b.directory / "store"), create=True)
        old.write([(Table.META, b"old", b"state")])
        old.close()
        target = b.open()
        copy(source, target, info)
        target.install(info, lambda _: None)
        await until(lambda: b.restarts == 1)
        source.close()
        target.close()
        assert rows(b.directory) == [(b"old", b"state")]
        assert finish_install(b.directory) == (LINK, b"members")
        assert rows(b.directory) == sorted((key, value) for _, key, value in ROWS)
        assert finish_install(b.directory) == (LINK, b"members")

    run(test)


def test_transfer_goes_on_after_a_restart_of_the_receiver(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = Side(tmp_path / "a"), Side(tmp_path / "b")
        source, info = await made(a)
        first = b.open()
        copy(source, first, info, stop=12_000)
        first.close()
        second = b.open()
        assert second.begin(info) >= 12_000
        copy(source, second, info)
        second.install(info, lambda _: None)
        await until(lambda: b.restarts == 1)
        source.close()
        second.close()
        another = info._replace(digest=b"x" * 32)
        assert second.begin(another) == 0

    run(test)


def test_stream_with_one_changed_byte_is_never_installed(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = Side(tmp_path / "a"), Side(tmp_path / "b")
        source, info = await made(a)
        target = b.open()
        copy(source, target, info)
        stream = b.directory / "snapshots" / "incoming" / "stream"
        content = bytearray(stream.read_bytes())
        content[len(content) // 2] ^= 1
        stream.write_bytes(content)
        outcome: list[bool] = []
        target.install(info, outcome.append)
        await until(lambda: bool(outcome) or b.restarts > 0)
        assert (outcome, b.restarts) == ([False], 0)
        assert finish_install(b.directory) is None
        assert target.begin(info) == 0
        source.close()
        target.close()

    run(test)


@pytest.mark.parametrize("crash", ["before the swap", "store moved away", "after the swap"])
def test_crash_within_the_swap_is_finished_by_the_next_start(tmp_path: Path, crash: str) -> None:
    async def test() -> None:
        a, b = Side(tmp_path / "a"), Side(tmp_path / "b")
        source, info = await made(a)
        RocksStore.open(str(b.directory / "store"), create=True).close()
        target = b.open()
        copy(source, target, info)
        target.install(info, lambda _: None)
        await until(lambda: b.restarts == 1)
        source.close()
        target.close()
        root = b.directory / "snapshots"
        if crash != "before the swap":
            (b.directory / "store").rename(root / "old")
        if crash == "after the swap":
            (root / "unpacked").rename(b.directory / "store")
        assert finish_install(b.directory) == (LINK, b"members")
        assert len(rows(b.directory)) == len(ROWS)

    run(test)


def test_damaged_note_of_an_installation_is_not_guessed_at(tmp_path: Path) -> None:
    root = tmp_path / "snapshots"
    root.mkdir()
    (root / "installed.json").write_text('{"snapshot": [1, 2, 3, 4, "00", "00"], "crc32": 5}')
    with pytest.raises(StoreDamaged):
        finish_install(tmp_path)
