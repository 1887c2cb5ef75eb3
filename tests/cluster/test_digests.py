"""Stores that hold the same have the same digest, and one row more or less is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.stillness import differences
from tq.broker import offline
from tq.broker.digests import digest_directory
from tq.broker.storage.data_dir import DataDir
from tq.broker.storage.rocks import RocksStore
from tq.broker.storage.store import Write
from tq.broker.tables import Table
from tq.clock import SystemClock
from tq.errors import BrokerUnavailable

ROWS = [Write(Table.RESULT, b"%d" % number, b"value") for number in range(100)]


def test_the_way_to_a_content_does_not_show_and_the_content_does(tmp_path: Path) -> None:
    _make(tmp_path / "a", ROWS)
    _make(
        tmp_path / "b", [*reversed(ROWS), Write(Table.LIVE, b"gone", b""), Write(Table.LIVE, b"gone", None)]
    )
    _make(tmp_path / "c", [*ROWS[:-1], Write(Table.RESULT, ROWS[-1].key, b"valuE")])

    a, b, c = (digest_directory(tmp_path / name) for name in "abc")

    assert a == b
    assert {name for name in a.tables if a.tables[name] != c.tables[name]} == {"result"}


def test_the_command_says_it_and_differences_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _make(tmp_path, ROWS)

    assert offline.main(["digest", str(tmp_path)]) == 0

    assert '"event": "digested"' in capsys.readouterr().out
    found = {"event": "digested", "index": 7, "tables": {"live": "1", "result": "2"}}
    assert differences("n1", found, "n2", found) == []
    assert differences("n1", found, "n2", found | {"tables": {"live": "1", "result": "3"}}) == [
        "table result of n1 and n2 differ at entry 7"
    ]
    assert differences("n1", found, "n2", {"event": "refused"})


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    _make(tmp_path, ROWS)
    directory = DataDir.open(tmp_path, SystemClock())
    try:
        with pytest.raises(BrokerUnavailable):
            digest_directory(tmp_path)
    finally:
        directory.close()


def _make(path: Path, writes: list[Write]) -> None:
    directory = DataDir.open(path, SystemClock())
    store = RocksStore.open(directory.store_path, create=True)
    store.write(writes)
    store.sync()
    store.close()
    directory.close()
