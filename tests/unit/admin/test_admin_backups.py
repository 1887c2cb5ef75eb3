"""A backup is believed only after every byte was looked at."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tq.admin.backups import BLOCK_BYTES, MANIFEST, NotABackup, copy, damages, read_backup

CONTENT = {"store/CURRENT": b"MANIFEST-1\n", "store/000001.sst": bytes(BLOCK_BYTES + 7), "store/empty": b""}


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    directory = tmp_path / "backup"
    for name, content in CONTENT.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    write_manifest(directory, list(CONTENT))
    return directory


def write_manifest(directory: Path, names: list[str], **other: object) -> None:
    files = [
        {"name": name, "bytes": len(CONTENT[name]), "sha256": sha256(CONTENT[name]).hexdigest()}
        for name in names
    ]
    (directory / MANIFEST).write_text(json.dumps({"format": 1, "index": 42, "files": files} | other))


def found_in(directory: Path) -> list[str]:
    return list(damages(read_backup(directory), lambda step: None))


def test_a_whole_backup_has_no_damage_and_every_byte_was_read(backup: Path) -> None:
    steps: list[int] = []
    found = read_backup(backup)
    assert list(damages(found, steps.append)) == []
    assert sum(steps) == found.size == sum(len(content) for content in CONTENT.values())
    assert found.log_index == 42


def test_one_flipped_bit_is_found(backup: Path) -> None:
    path = backup / "store/000001.sst"
    content = bytearray(path.read_bytes())
    content[BLOCK_BYTES] ^= 1
    path.write_bytes(content)
    assert found_in(backup) == ["store/000001.sst is not what was written: its SHA-256 differs"]


def test_a_cut_a_missing_and_a_strange_file_are_found(backup: Path) -> None:
    (backup / "store/000001.sst").write_bytes(b"short")
    (backup / "store/CURRENT").unlink()
    (backup / "store/strange").write_bytes(b"?")
    assert found_in(backup) == [
        "store/CURRENT cannot be read: No such file or directory",
        f"store/000001.sst has 5 bytes, and had {BLOCK_BYTES + 7}",
        "store/strange is not part of the backup",
    ]


def test_a_directory_without_a_manifest_is_not_a_backup(tmp_path: Path) -> None:
    with pytest.raises(NotABackup, match="never finished"):
        read_backup(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "nope", '{"format": 1, "index": 1, "files": [{}]}', "[" * 100_000]
)
def test_a_damaged_manifest_is_refused(text: str, backup: Path) -> None:
    (backup / MANIFEST).write_text(text)
    with pytest.raises(NotABackup, match="damaged"):
        read_backup(backup)


def test_a_newer_format_is_refused(backup: Path) -> None:
    write_manifest(backup, [], format=2)
    with pytest.raises(NotABackup, match="newer"):
        read_backup(backup)


@pytest.mark.parametrize("name", ["../outside", "/outside", "store/../../outside", ""])
def test_a_manifest_cannot_lead_outside_the_backup(name: str, backup: Path) -> None:
    write_manifest(backup, [], files=[{"name": name, "bytes": 1, "sha256": ""}])
    with pytest.raises(NotABackup, match="not inside"):
        read_backup(backup)


def test_a_copy_is_the_same(backup: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    copy(read_backup(backup), tmp_path / "copy", steps.append)
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in CONTENT} == CONTENT
    assert sum(steps) == sum(len(content) for content in CONTENT.values())


def test_a_file_that_changes_under_the_copy_is_noticed(backup: Path, tmp_path: Path) -> None:
    found = read_backup(backup)
    (backup / "store/CURRENT").write_bytes(b"MANIFEST-2\n")
    with pytest.raises(NotABackup, match="changed"):
        copy(found, tmp_path / "copy", lambda step: None)
