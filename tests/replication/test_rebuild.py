"""What happens to a data directory that is found damaged."""

from __future__ import annotations

from pathlib import Path

from tq.broker.storage.data_dir import DataDir, read_marker
from tq.broker.storage.rebuild import ASIDE_MAX, set_aside
from tq.clock import ManualClock


def used(path: Path) -> DataDir:
    directory = DataDir.open(path, ManualClock())
    for name in ("store", "journal"):
        (path / name).mkdir(exist_ok=True)
        (path / name / "CURRENT").write_text("kept")
    (path / "peers.json").write_text("{}")
    directory.mark_used()
    directory.close()
    return directory


def test_damaged_data_is_set_aside_and_the_node_begins_a_new_disk_generation(tmp_path: Path) -> None:
    before = used(tmp_path)
    aside = set_aside(tmp_path, ManualClock())
    assert aside is not None
    assert (aside / "store" / "CURRENT").read_text() == "kept"
    assert (tmp_path / "peers.json").exists()
    after = DataDir.open(tmp_path, ManualClock())
    assert (after.is_new, after.node_uuid, after.disk_generation) == (True, before.node_uuid, 2)
    after.close()


def test_directory_that_was_never_used_is_left_alone(tmp_path: Path) -> None:
    DataDir.open(tmp_path, ManualClock()).close()
    assert set_aside(tmp_path, ManualClock()) is None
    assert list(tmp_path.glob("damaged-*")) == []


def test_directory_whose_marker_is_damaged_becomes_another_nodes_disk(tmp_path: Path) -> None:
    before = used(tmp_path)
    (tmp_path / "node.json").write_text("torn")
    assert set_aside(tmp_path, ManualClock()) is not None
    marker = read_marker(tmp_path)
    assert marker is not None
    assert marker.node_uuid != before.node_uuid
    assert marker.disk_generation > 1


def test_only_the_last_damaged_ones_are_kept(tmp_path: Path) -> None:
    for _ in range(ASIDE_MAX + 2):
        used(tmp_path)
        set_aside(tmp_path, ManualClock())
    assert sorted(path.name for path in tmp_path.glob("damaged-*")) == ["damaged-3", "damaged-4"]


def test_setting_aside_that_was_cut_short_is_finished_by_the_next_one(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / "damaged-1").mkdir()
    (tmp_path / "store").rename(tmp_path / "damaged-1" / "store")
    aside = set_aside(tmp_path, ManualClock())
    assert aside is not None
    assert sorted(path.name for path in aside.iterdir()) == ["journal", "store"]
