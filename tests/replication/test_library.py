"""The pinned library: only the audited source runs, each node has its own, and no closed path opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tq.broker.replication import library
from tq.broker.replication.log_view import NO_OP, LogView
from tq.broker.replication.memory_journal import MemoryJournal
from tq.errors import Unsupported


def load(clock: float = 1.0) -> object:
    return library.load_library(lambda: clock, lambda: 0.5, LogView(MemoryJournal()))


def test_nodes_of_one_process_have_their_own_clock_and_leave_the_package_alone() -> None:
    import pysyncobj.syncobj as package

    before = dict(vars(package))
    one, two = load(1.0), load(2.0)
    assert (one.monotonicTime(), two.monotonicTime()) == (1.0, 2.0)  # type: ignore[attr-defined]
    assert dict(vars(package)) == before


def test_changed_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = library._directory()
    for name in library.SOURCES:
        (tmp_path / name).write_bytes((original / name).read_bytes())
    (tmp_path / "syncobj.py").write_bytes((original / "syncobj.py").read_bytes() + b"\n")
    monkeypatch.setattr(library, "_directory", lambda: tmp_path)
    with pytest.raises(Unsupported, match=r"syncobj\.py is not that of pysyncobj 0\.3\.17"):
        load()


def test_pickle_is_closed() -> None:
    for name in ("loads", "dumps", "load", "dump"):
        with pytest.raises(AssertionError, match="closed"):
            getattr(load().pickle, name)(b"")  # type: ignore[attr-defined]


def test_library_sees_the_log_without_data_from_its_base_on() -> None:
    journal = MemoryJournal(trailing_entries=2)
    for number in range(5):
        journal.append(number // 2 + 1, b"%d" % number)
    journal.trim(5)
    view = LogView(journal)
    assert (len(view), view[0], view[-1]) == (3, (NO_OP, 3, 2), (NO_OP, 5, 3))
    assert view.slice(4, 10) == [(NO_OP, 4, 2), (NO_OP, 5, 3)]
    assert view.slice(2, 10) == []
    with pytest.raises(AssertionError):
        view.clear()
