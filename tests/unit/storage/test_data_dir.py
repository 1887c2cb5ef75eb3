"""The data directory: made once, locked, and never begun anew over what was there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tq.broker.replication.journal import Journal
from tq.broker.storage.data_dir import DataDir
from tq.broker.storage.rocks import RocksStore
from tq.broker.tables import Table
from tq.clock import ManualClock
from tq.errors import BrokerUnavailable, StoreDamaged, Unsupported


def open_dir(path: Path) -> DataDir:
    return DataDir.open(path, ManualClock())


def first_life(path: Path) -> str:
    """Open everything as a broker does, close it, and return the node's uuid."""
    directory = open_dir(path)
    RocksStore.open(directory.store_path, create=directory.is_new).close()
    Journal.open(directory.journal_path, create=directory.is_new).close()
    directory.mark_used()
    directory.close()
    return directory.node_uuid


def test_directory_is_made_with_its_parents_and_keeps_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    first = open_dir(path)
    assert first.is_new
    first.close()

    uuid = first_life(path)

    again = open_dir(path)
    assert (again.node_uuid, again.disk_generation, again.is_new) == (uuid, 1, False)
    again.close()
    assert uuid == first.node_uuid


def test_two_directories_are_two_nodes(tmp_path: Path) -> None:
    assert first_life(tmp_path / "a") != first_life(tmp_path / "b")


def test_second_broker_is_refused_with_the_process_id_of_the_first(tmp_path: Path) -> None:
    held = open_dir(tmp_path)

    with pytest.raises(BrokerUnavailable, match=f"process {os.getpid()}"):
        open_dir(tmp_path)

    held.close()
    open_dir(tmp_path).close()


def test_directory_is_free_again_when_its_broker_was_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys; from tq.broker.storage.data_dir import DataDir; from tq.clock import ManualClock\n"
        "held = DataDir.open(sys.argv[1], ManualClock()); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -9

    open_dir(tmp_path).close()


def test_start_that_was_cut_short_before_the_databases_were_made_is_finished(tmp_path: Path) -> None:
    open_dir(tmp_path).close()
    directory = open_dir(tmp_path)
    assert directory.is_new
    RocksStore.open(directory.store_path, create=True).close()
    directory.close()

    assert first_life(tmp_path) == directory.node_uuid


def test_second_start_takes_the_directory_for_used_even_if_nobody_marked_it(tmp_path: Path) -> None:
    directory = open_dir(tmp_path)
    RocksStore.open(directory.store_path, create=True).close()
    Journal.open(directory.journal_path, create=True).close()
    directory.close()

    again = open_dir(tmp_path)
    assert not again.is_new
    again.close()


@pytest.mark.parametrize("missing", ["store", "journal"])
def test_missing_database_is_damage_and_nothing_is_made_in_its_place(tmp_path: Path, missing: str) -> None:
    first_life(tmp_path)
    shutil.rmtree(tmp_path / missing)

    with pytest.raises(StoreDamaged, match=f"{missing} is missing"):
        open_dir(tmp_path)

    assert not (tmp_path / missing).exists()


def test_databases_without_a_marker_are_damage(tmp_path: Path) -> None:
    first_life(tmp_path)
    (tmp_path / "node.json").unlink()

    with pytest.raises(StoreDamaged, match="no node.json"):
        open_dir(tmp_path)

    assert not (tmp_path / "node.json").exists()


def test_changed_marker_is_damage(tmp_path: Path) -> None:
    first_life(tmp_path)
    marker = tmp_path / "node.json"
    content = marker.read_bytes()
    for place in range(0, len(content), 7):
        broken = bytearray(content)
        broken[place] ^= 1
        marker.write_bytes(broken)
        try:
            open_dir(tmp_path).close()
        except StoreDamaged as error:
            assert "node.json" in error.text
        else:
            assert json.loads(broken) == json.loads(content), f"a change of byte {place} went unseen"


def test_directory_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    first_life(tmp_path)
    marker = tmp_path / "node.json"
    fields = json.loads(marker.read_text())["node"] | {"format": 2}
    crc = zlib.crc32(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
    marker.write_text(json.dumps({"node": fields, "crc32": crc}))

    with pytest.raises(Unsupported, match="newer tq"):
        open_dir(tmp_path)


def test_database_that_was_synced_is_never_taken_for_new(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    store = RocksStore.open(path, create=True)
    store.write([(Table.LIVE, b"k", b"v")])
    store.close()
    for manifest in Path(path).glob("MANIFEST-*"):
        manifest.unlink()

    with pytest.raises(StoreDamaged):
        RocksStore.open(path, create=True)
