"""A database with many tables and logs: what was synced is there, or opening it is refused.

Small buffers give, in a few megabytes, what production has after days: logs that ended, flushed and compacted tables,
a manifest with many edits. The writer is a process of its own and is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from rocksdict import Cache

from tq.broker.rocksdb.database import Database
from tq.broker.rocksdb.files import manifest_number, manifest_path, wal_files
from tq.broker.rocksdb.framing import records
from tq.broker.rocksdb.inspection import inspect
from tq.broker.rocksdb.options import Family
from tq.broker.rocksdb.wal import check_wals
from tq.errors import StoreDamaged

FAMILIES = (Family("rows", buffer_bytes=64 * 1024), Family("last", buffer_bytes=256 * 1024))
KEPT_ROWS = 800
SYNC_EVERY = 10
LAST = b"last"


def open_database(path: Path, *, create: bool = False) -> Database:
    return Database.open(str(path), FAMILIES, create=create, cache_bytes=1024**2)


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def value(number: int) -> bytes:
    return Random(number).randbytes(700)


def put(database: Database, number: int) -> None:
    batch = database.batch()
    batch.put(key(number), value(number), database.handles["rows"])
    if number > KEPT_ROWS:
        batch.delete(key(number - KEPT_ROWS), database.handles["rows"])
    batch.put(LAST, key(number), database.handles["last"])
    if number % SYNC_EVERY:
        database.write(batch)
    else:
        database.write_synced(batch, key(number))


def write_forever(path: Path) -> None:
    database = open_database(path, create=not path.exists())
    number = int.from_bytes(database.get(database.families["last"], LAST) or b"", "big")
    while True:
        number += 1
        put(database, number)
        if number % SYNC_EVERY == 0:
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def check(path: Path, synced: int) -> None:
    """Open it and compare all of it."""
    database = open_database(path)
    try:
        last = int.from_bytes(database.get(database.families["last"], LAST) or b"", "big")
        assert last >= synced
        held = dict(database.scan(database.families["rows"]))
        assert held == {key(n): value(n) for n in range(max(1, last - KEPT_ROWS + 1), last + 1)}
    finally:
        database.close()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """(a database whose writer was killed twice, last synced number)."""
    path = tmp_path_factory.mktemp("killed") / "database"
    synced = 0
    for stop_at in (700, 2500):
        code = f"from tests.unit.rocksdb import test_database as t; t.write_forever(t.Path({str(path)!r}))"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if (synced := int(line)) >= stop_at:
                    break
            writer.kill()
            synced = max([synced, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    return path, synced


@pytest.fixture
def copy(killed: tuple[Path, int], tmp_path: Path) -> Path:
    shutil.copytree(killed[0], tmp_path / "copy")
    return tmp_path / "copy"


def refused_or_whole(path: Path, synced: int) -> bool:
    """Whether it was refused; fails when it opened with less."""
    try:
        check(path, synced)
    except StoreDamaged:
        return True
    return False


def test_killed_database_has_everything(killed: tuple[Path, int], copy: Path) -> None:
    assert len(wal_files(str(copy))) > 1, "the test is about several logs"
    check(copy, killed[1])
    check(copy, killed[1])


def test_log_cut_between_two_records_is_refused(killed: tuple[Path, int], copy: Path) -> None:
    """RocksDB itself opens every one of these, without the writes that were cut off."""
    for number, path in wal_files(str(copy)):
        stops = [record.stop for record in records(path)]
        if not stops:
            continue
        case = copy.with_name(f"cut{number}")
        shutil.copytree(copy, case)
        os.truncate(case / path.name, stops[len(stops) // 2])
        assert refused_or_whole(case, killed[1])


@pytest.mark.parametrize("which", [0, 1, -1])
def test_missing_log_is_refused(killed: tuple[Path, int], copy: Path, which: int) -> None:
    wal_files(str(copy))[which][1].unlink()

    assert refused_or_whole(copy, killed[1])


def test_manifest_cut_after_any_edit_is_refused_or_harmless(killed: tuple[Path, int], copy: Path) -> None:
    manifest = manifest_path(str(copy), manifest_number(str(copy)))
    stops = [record.stop for record in records(manifest)]
    refused = 0
    for stop in stops[3 :: max(1, len(stops) // 16)]:
        case = copy.with_name(f"cut{stop}")
        shutil.copytree(copy, case)
        os.truncate(case / manifest.name, stop)
        refused += refused_or_whole(case, killed[1])
        shutil.rmtree(case)
    assert refused


def test_manifest_edit_with_a_changed_length_is_refused_or_harmless(
    killed: tuple[Path, int], copy: Path
) -> None:
    manifest = manifest_path(str(copy), manifest_number(str(copy)))
    content = manifest.read_bytes()
    stops = [record.stop for record in records(manifest)][:-1]
    rng = Random(1)
    for stop in rng.sample(stops, min(8, len(stops))):
        case = copy.with_name(f"length{stop}")
        shutil.copytree(copy, case)
        changed = bytearray(content)
        changed[stop + 4 + rng.randrange(2)] ^= 1 << rng.randrange(8)
        (case / manifest.name).write_bytes(changed)
        refused_or_whole(case, killed[1])
        shutil.rmtree(case)


@pytest.mark.parametrize("name", ["manifest", "log"])
def test_record_that_seems_to_be_of_a_recycled_log_is_refused(
    killed: tuple[Path, int], copy: Path, name: str
) -> None:
    """RocksDB reads such a manifest for ever."""
    logs = wal_files(str(copy))
    path = manifest_path(str(copy), manifest_number(str(copy))) if name == "manifest" else logs[0][1]
    stops = [record.stop for record in records(path)]
    content = bytearray(path.read_bytes())
    content[stops[len(stops) // 2] + 6] |= 4
    path.write_bytes(content)

    with pytest.raises(StoreDamaged, match=f"{path.name} is damaged at byte"):
        open_database(copy)


def test_refusal_changes_nothing(copy: Path) -> None:
    # All of them: one alone may be what a flush that was killed left behind.
    for table in copy.glob("*.sst"):
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
    before = {f.name: f.read_bytes() for f in copy.iterdir() if not f.name.startswith("LOG")}

    with pytest.raises(StoreDamaged, match="restore a backup"):
        open_database(copy)

    assert {f.name: f.read_bytes() for f in copy.iterdir() if not f.name.startswith("LOG")} == before


def test_flipped_bit_in_a_log_is_refused_and_the_log_is_named(killed: tuple[Path, int], copy: Path) -> None:
    """RocksDB's default mode opens with half of it."""
    newest = wal_files(str(copy))[-1][1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    with pytest.raises(StoreDamaged, match=newest.name):
        open_database(copy)


def test_scan_over_a_damaged_block_raises_and_does_not_end_early(tmp_path: Path) -> None:
    """rocksdict's own `items()` ends there as if there were no more rows."""
    database = open_database(tmp_path / "d", create=True)
    for number in range(1, 600):
        put(database, number)
    database.close()
    database = open_database(tmp_path / "d")
    for table in (tmp_path / "d").glob("*.sst"):
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
    try:
        for reverse in (False, True):
            with pytest.raises(StoreDamaged):
                list(database.scan(database.families["rows"], reverse=reverse))
        with pytest.raises(StoreDamaged):
            for number in range(1, 600):
                database.get(database.families["rows"], key(number))
        with pytest.raises(StoreDamaged):
            database.get_many(database.families["rows"], [key(number) for number in range(1, 600)])
    finally:
        database.abandon()


def test_checkpoint_opens_by_itself_and_shows_a_lost_end(tmp_path: Path) -> None:
    database = open_database(tmp_path / "d", create=True)
    for number in range(1, 300):
        put(database, number)
    database.checkpoint(str(tmp_path / "c"))
    put(database, 300)
    database.close()

    shutil.copytree(tmp_path / "c", tmp_path / "c2")
    check(tmp_path / "c", 299)
    manifest = manifest_path(str(tmp_path / "c2"), manifest_number(str(tmp_path / "c2")))
    os.truncate(manifest, manifest.stat().st_size - 1)
    assert refused_or_whole(tmp_path / "c2", 299)


def test_second_opener_is_refused(tmp_path: Path) -> None:
    database = open_database(tmp_path / "d", create=True)
    try:
        with pytest.raises(OSError, match="lock"):
            open_database(tmp_path / "d")
    finally:
        database.close()


def test_closed_database_refuses(tmp_path: Path) -> None:
    database = open_database(tmp_path / "d", create=True)
    database.close()
    database.close()

    with pytest.raises(OSError, match="closed"):
        database.write(database.batch())
    with pytest.raises(OSError, match="closed"):
        database.sync()


def test_note_of_the_last_sync_is_found_at_the_next_start(tmp_path: Path) -> None:
    database = open_database(tmp_path / "d", create=True)
    put(database, 10)
    database.close()

    database = open_database(tmp_path / "d")
    assert database.note == key(10)
    database.close()


def test_missing_database_is_not_made_when_one_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreDamaged, match="CURRENT is missing"):
        open_database(tmp_path / "nothing")

    assert not (tmp_path / "nothing").exists()


def test_inspection_counts_every_row_it_read(killed: tuple[Path, int], copy: Path) -> None:
    seen: dict[str, int] = {}
    inspect(str(copy), FAMILIES, Cache(1024**2), on_verified=seen.__setitem__)

    assert seen == {"rows": KEPT_ROWS, "last": 1}


def damaged_logs() -> list[tuple[str, Callable[[list[bytes]], list[bytes]]]]:
    """(what, list of logs -> damaged list of logs), where each log holds the numbers of its writes."""
    return [
        ("empty older log", lambda logs: [logs[0], b"", *logs[2:]]),
        ("empty oldest log", lambda logs: [b"", *logs[1:]]),
        ("older log that ends in a record", lambda logs: [logs[0], logs[1][:-3], *logs[2:]]),
        ("older log that ends before its last record", lambda logs: [logs[0], logs[1][:47], *logs[2:]]),
        ("logs swapped", lambda logs: [logs[1], logs[0], *logs[2:]]),
        ("impossible fragment", lambda logs: [logs[0], logs[1][:6] + b"\x07" + logs[1][7:], *logs[2:]]),
        ("record that begins twice", lambda logs: [logs[0], logs[1][:6] + b"\x02" + logs[1][7:], *logs[2:]]),
        ("record that never began", lambda logs: [logs[0], logs[1][:6] + b"\x03" + logs[1][7:], *logs[2:]]),
    ]


def log(first: int, count: int) -> bytes:
    """A log of `count` writes of two changes each."""
    writes = [
        (first + 2 * n).to_bytes(8, "little") + (2).to_bytes(4, "little") + bytes(28) for n in range(count)
    ]
    return b"".join(bytes(4) + len(w).to_bytes(2, "little") + b"\x01" + w for w in writes)


def lay(directory: Path, logs: list[bytes]) -> None:
    for number, content in enumerate(logs, start=7):
        (directory / f"{number:06d}.log").write_bytes(content)


GOOD_LOGS = [log(100, 3), log(106, 2), log(110, 1)]


@pytest.mark.parametrize(
    "logs",
    [
        GOOD_LOGS,
        [*GOOD_LOGS, b""],
        [*GOOD_LOGS[:2], GOOD_LOGS[2][:-5]],
        [GOOD_LOGS[0], b"", *GOOD_LOGS[1:]],
        [*GOOD_LOGS[:2], GOOD_LOGS[2][:-5], b"", b""],
    ],
)
def test_logs_that_follow_each_other_pass_with_torn_ends_and_empty_ones(
    tmp_path: Path, logs: list[bytes]
) -> None:
    lay(tmp_path, logs)

    check_wals(str(tmp_path), needed_from=7, manifest=5)


@pytest.mark.parametrize(("what", "damage"), damaged_logs())
def test_logs_with_a_hole_are_damage(
    tmp_path: Path, what: str, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    lay(tmp_path, damage(GOOD_LOGS))

    with pytest.raises(StoreDamaged, match=r"\.log"):
        check_wals(str(tmp_path), needed_from=7, manifest=5)


def test_logs_the_manifest_no_longer_needs_are_not_looked_at(tmp_path: Path) -> None:
    lay(tmp_path, [b"\xff" * 100, *GOOD_LOGS[1:]])

    check_wals(str(tmp_path), needed_from=8, manifest=5)


def test_first_log_may_be_missing_only_below_the_manifest(tmp_path: Path) -> None:
    lay(tmp_path, GOOD_LOGS)

    check_wals(str(tmp_path), needed_from=6, manifest=9)
    with pytest.raises(StoreDamaged, match="needs the write-ahead logs from 000006.log on"):
        check_wals(str(tmp_path), needed_from=6, manifest=5)
    with pytest.raises(StoreDamaged, match="missing"):
        check_wals(str(tmp_path), needed_from=60, manifest=5)
