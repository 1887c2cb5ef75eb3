"""Keys, backups and restores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.processes import broker_address, start_broker
from tests.admin.running import Admin


def test_a_hash_is_made_of_the_key_which_is_never_shown() -> None:
    import bcrypt

    key = "hunter2-hunter2-hunter2"
    by_stdin = Admin().run("hash-key", "--cost", "4", stdin=f"{key}\n".encode())
    by_argument = Admin().document("hash-key", "--cost", "4", key)["key_hash"]
    for text in (by_stdin.out.strip(), by_argument):
        assert bcrypt.checkpw(key.encode(), text.encode())
    assert key not in by_stdin.out + by_stdin.errors


@pytest.mark.parametrize("key", ["", "x" * 73, "ü" * 10, "a b"])
def test_a_key_that_would_not_work_is_refused(key: str) -> None:
    done = Admin().run("hash-key", "--cost", "4", stdin=key.encode())
    assert done.exit_code == 2
    assert len(key) < 3 or key not in done.errors


def test_a_backup_becomes_a_broker_with_the_same_tasks(tmp_path: Path) -> None:
    copy, data = tmp_path / "copy", tmp_path / "restored" / "data"
    with start_broker(tmp_path) as broker:
        first = Admin(broker_address(broker))
        task_id = first.submit("--type", "t", "--payload", "kept", "--unique-key", "k")
        assert first.document("backup", str(copy))["directory"] == str(copy)
        assert first.run("backup", str(copy)).exit_code == 1

    offline = Admin()
    assert offline.document("verify", str(copy))["status"] == "good"
    assert offline.document("restore", str(copy), "--data-dir", str(data))["data_dir"] == str(data)
    assert offline.run("restore", str(copy), "--data-dir", str(data)).exit_code == 1

    with start_broker(data.parent) as broker:
        second = Admin(broker_address(broker))
        assert second.document("status", task_id)["payload"] == "a2VwdA=="
        assert second.submit("--type", "t", "--unique-key", "k") == task_id
        later = second.submit("--type", "t")
        assert second.document("status", later)["status"] == "pending"


def test_a_damaged_backup_is_told_and_not_restored(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with start_broker(tmp_path) as broker:
        assert Admin(broker_address(broker)).run("backup", str(copy)).exit_code == 0
    table = max((copy / "store").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    # A backup's files may be links to the store's own: a new file, not a change to this one.
    table.unlink()
    table.write_bytes(content)

    verdict = Admin().run("verify", str(copy), "--format", "json")
    assert verdict.exit_code == 1
    assert table.name in json.loads(verdict.out)["damages"][0]
    restored = Admin().run("restore", str(copy), "--data-dir", str(tmp_path / "new"))
    assert restored.exit_code == 1
    assert "nothing was restored" in restored.errors
    assert not (tmp_path / "new").exists()


def test_what_is_not_a_backup_is_not_restored(tmp_path: Path) -> None:
    done = Admin().run("restore", str(tmp_path), "--data-dir", str(tmp_path / "new"))
    assert done.exit_code == 1
    assert "not a backup" in done.errors
    assert Admin().run("verify", str(tmp_path / "absent")).exit_code == 1


def test_the_data_of_a_stopped_broker_is_verified_and_that_of_a_running_one_refused(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        assert Admin(broker_address(broker)).run("submit", "--type", "t").exit_code == 0
        refused = Admin().run("verify", str(tmp_path / "data"))
        assert refused.exit_code == 1
        assert "in use" in refused.errors

    assert Admin().document("verify", str(tmp_path / "data"))["status"] == "good"
    (tmp_path / "data" / "store" / "CURRENT").unlink()
    damaged = Admin().run("verify", str(tmp_path / "data"))
    assert damaged.exit_code == 1
    assert "CURRENT" in damaged.out


def test_verifying_a_backup_leaves_it_as_it_was(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        assert Admin(broker_address(broker)).run("backup", str(tmp_path / "copy")).exit_code == 0
    before = sorted(path for path in (tmp_path / "copy").rglob("*"))
    for _ in range(2):
        assert Admin().document("verify", str(tmp_path / "copy"))["status"] == "good"
    assert sorted(path for path in (tmp_path / "copy").rglob("*")) == before


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    done = Admin().run("verify", str(tmp_path))
    assert done.exit_code == 1
    assert "neither a data directory nor a backup" in done.errors
