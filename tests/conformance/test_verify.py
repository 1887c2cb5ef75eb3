"""Verifying a directory: everything counted when it is whole, all damage listed when it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conformance import small_broker
from tests.conformance.test_damage import live
from tq.broker.storage.data_dir import DataDir
from tq.broker.storage.rocks import RocksStore
from tq.broker.verify import verify_directory
from tq.clock import ManualClock
from tq.errors import BadRequest, BrokerUnavailable


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lived") / "data"
    live(path, 60, "clean")
    live(path, 60, "hang")
    return path


@pytest.fixture
def directory(lived_in: Path, tmp_path: Path) -> Path:
    shutil.copytree(lived_in, tmp_path / "data")
    return tmp_path / "data"


def contents(directory: Path) -> dict[str, bytes]:
    """All but RocksDB's diary and the locks."""
    return {str(p): p.read_bytes() for p in directory.rglob("*") if p.is_file() and "LO" not in p.name}


def unheard(place: str, rows: int) -> None:
    pass


def test_whole_data_directory_is_counted_and_not_changed(directory: Path) -> None:
    seen: dict[str, int] = {}
    before = contents(directory)

    report = verify_directory(directory, seen.__setitem__)

    assert report.damage == ()
    assert (report.first_index, report.last_index) == (1, 120)
    assert seen["journal/entries"] == 120
    assert seen["store/payload"] == 120
    assert report.rows == sum(seen.values())
    assert contents(directory) == before


def test_all_damage_is_listed(directory: Path) -> None:
    for table in (directory / "store").glob("*.sst"):
        content = bytearray(table.read_bytes())
        content[0] ^= 1
        table.write_bytes(content)
    log = max((directory / "journal").glob("*.log"))
    log.write_bytes(log.read_bytes()[:-20])

    report = verify_directory(directory, unheard)

    assert len([line for line in report.damage if ".sst" in line]) >= 2
    assert any("journal" in line and "synced" in line for line in report.damage)


def test_damaged_marker_is_listed(directory: Path) -> None:
    (directory / "node.json").write_text("{}")

    assert any("node.json" in line for line in verify_directory(directory, unheard).damage)


def test_checkpoint_and_backup_can_be_verified(directory: Path, tmp_path: Path) -> None:
    small_broker.recovered(directory)
    store = RocksStore.open(str(directory / "store"), create=False)
    (tmp_path / "backup").mkdir()
    store.checkpoint(str(tmp_path / "backup" / "store"))
    store.close()

    for path in (tmp_path / "backup", tmp_path / "backup" / "store"):
        report = verify_directory(path, unheard)
        assert report.damage == ()
        assert report.rows > 240
        assert report.last_index is None


def test_directory_in_use_is_refused(directory: Path) -> None:
    held = DataDir.open(directory, ManualClock())
    with pytest.raises(BrokerUnavailable, match="in use by process"):
        verify_directory(directory, unheard)
    held.close()


def test_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="neither a data directory nor a backup"):
        verify_directory(tmp_path, unheard)
