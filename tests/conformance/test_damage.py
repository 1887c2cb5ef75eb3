"""One flipped bit or a cut-off file, in any file of store or journal: the broker refuses, or it has everything.

The directories come from real processes: one that was closed well and one that was killed while it was open, each
after two earlier lives, so that there are tables, logs and a manifest with a history.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.conformance import small_broker
from tq.errors import StoreDamaged

SEED = int(os.environ.get("TQ_TEST_SEED", "1"))
CASES = int(os.environ.get("TQ_TEST_CASES", "3"))
"""Flips, and cuts, of each kind of file; a longer run sets TQ_TEST_CASES."""
IGNORED_BY_ROCKSDB = ("OPTIONS-*", "IDENTITY")
"""Damage to these changes nothing; one case of each sort is enough."""
NOT_DATA = ("LOG", "LOCK")
"""RocksDB's diary and its lock."""


@pytest.fixture(scope="module", params=["clean", "hang"], ids=["closed well", "killed"])
def lived_in(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """(data directory, last acknowledged entry)."""
    path = tmp_path_factory.mktemp("lived") / "data"
    live(path, 250, "clean")
    live(path, 200, "clean")
    return path, live(path, 130, request.param)


def live(path: Path, entries: int, ending: str) -> int:
    """Run the small broker; with "hang", kill it when it has written everything. Returns the last acknowledged entry."""
    command = [sys.executable, "-m", "tests.conformance.small_broker", str(path), str(entries), ending]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            if line == "written\n":
                process.kill()
                break
            last = int(line)
    assert process.returncode in (0, -9)
    return last


def test_undamaged_directory_has_everything(lived_in: tuple[Path, int], tmp_path: Path) -> None:
    path, acknowledged = lived_in
    shutil.copytree(path, tmp_path / "data")

    last, held = small_broker.recovered(tmp_path / "data")

    assert last >= acknowledged
    assert held == small_broker.expected(last)


@pytest.mark.parametrize("database", ["store", "journal"])
@pytest.mark.parametrize(
    "kind", ["*.sst", "*.log", "MANIFEST-*", "CURRENT", "OPTIONS-*", "IDENTITY", "WITNESS"]
)
def test_damaged_file_is_refused_or_everything_is_there(
    lived_in: tuple[Path, int], tmp_path: Path, database: str, kind: str
) -> None:
    path, acknowledged = lived_in
    rng = Random(f"{SEED} {database} {kind}")
    files = [file for file in (path / database).glob(kind) if file.stat().st_size]
    refused = 0
    cases = 0
    for what, victim, content in damages(files, rng, 1 if kind in IGNORED_BY_ROCKSDB else CASES):
        copy = tmp_path / f"case{cases}"
        clone(path, copy)
        (copy / database / victim.name).unlink()
        (copy / database / victim.name).write_bytes(content)
        cases += 1
        try:
            last, held = small_broker.recovered(copy)
        except StoreDamaged as error:
            refused += 1
            assert str(copy) in error.text
            assert "estore" in error.text, "it says what to do"
        else:
            assert last >= acknowledged, f"{what}: acknowledged entries are gone (TQ_TEST_SEED={SEED})"
            assert held == small_broker.expected(last), f"{what}: opened with less (TQ_TEST_SEED={SEED})"
        shutil.rmtree(copy)
    # An empty log is all that a broker that was closed well leaves.
    assert cases or kind == "*.log"
    if kind in ("*.sst", "CURRENT", "MANIFEST-*"):
        assert refused, "a test of damage that never meets any proves nothing"


def damages(files: list[Path], rng: Random, number: int) -> Iterator[tuple[str, Path, bytes]]:
    """(description, file, what it holds instead): so many flips, and so many cuts."""
    for _ in range(number if files else 0):
        file = rng.choice(files)
        content = bytearray(file.read_bytes())
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        content[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} of {file.name}", file, bytes(content)
    for turn in range(number if files else 0):
        file = rng.choice(files)
        content = bytearray(file.read_bytes())
        end = (len(content) - 1, 0, rng.randrange(len(content)))[turn % 3]
        yield f"{file.name} cut at byte {end} of {len(content)}", file, bytes(content[:end])


def clone(path: Path, copy: Path) -> None:
    """Tables and logs are never changed in place, so links do for them."""
    copy.mkdir()
    shutil.copy(path / "node.json", copy)
    for database in ("store", "journal"):
        (copy / database).mkdir()
        for file in (path / database).iterdir():
            target = copy / database / file.name
            if file.suffix in (".sst", ".log"):
                os.link(file, target)
            elif not file.name.startswith(NOT_DATA):
                shutil.copy(file, target)
