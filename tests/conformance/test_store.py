"""The rules of the `Store` port, kept by every driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tq.broker.storage.memory import MemoryStore
from tq.broker.storage.rocks import RocksStore
from tq.broker.storage.store import Store, Write
from tq.broker.tables import Table

MakeStore = Callable[[], Store]
OpenCopy = Callable[[Store, str], Store]


@pytest.fixture(params=["rocks", "memory"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[MakeStore, OpenCopy]]:
    """(makes an empty store, opens a checkpoint of one)."""
    with ExitStack() as stack:
        made = 0

        def make() -> Store:
            nonlocal made
            made += 1
            store: Store
            if request.param == "rocks":
                store = RocksStore.open(str(tmp_path / f"store{made}"), create=True)
            else:
                store = MemoryStore()
            stack.callback(store.close)
            return store

        def open_copy(store: Store, directory: str) -> Store:
            copy: Store
            if isinstance(store, MemoryStore):
                copy = store.open_checkpoint(directory)
            else:
                copy = RocksStore.open(directory, create=False)
            stack.callback(copy.close)
            return copy

        yield make, open_copy


@pytest.fixture
def store(driver: tuple[MakeStore, OpenCopy]) -> Store:
    return driver[0]()


def test_what_is_written_is_read_at_once(store: Store) -> None:
    store.write([Write(Table.LIVE, b"a", b"1"), (Table.PAYLOAD, b"a", b"2")])

    assert store.get(Table.LIVE, b"a") == b"1"
    assert store.get(Table.PAYLOAD, b"a") == b"2"


def test_key_that_is_not_there_reads_as_none(store: Store) -> None:
    assert store.get(Table.ENDED, b"never written") is None


def test_tables_do_not_share_keys(store: Store) -> None:
    store.write([(table, b"k", table.value.encode()) for table in Table])

    assert {table: store.get(table, b"k") for table in Table} == {t: t.value.encode() for t in Table}


def test_empty_value_is_not_an_absent_one(store: Store) -> None:
    store.write([(Table.EXTRA, b"k", b"")])

    assert store.get(Table.EXTRA, b"k") == b""
    assert list(store.scan(Table.EXTRA)) == [(b"k", b"")]


def test_many_are_read_in_the_order_asked_with_none_for_absent_ones(store: Store) -> None:
    store.write([(Table.LIVE, b"a", b"1"), (Table.LIVE, b"b", b"2")])

    assert store.get_many(Table.LIVE, [b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
    assert store.get_many(Table.LIVE, []) == []


def test_last_change_of_a_key_in_a_batch_counts(store: Store) -> None:
    store.write([(Table.LIVE, b"a", b"1"), (Table.LIVE, b"a", None), (Table.LIVE, b"b", None)])
    store.write([(Table.LIVE, b"b", b"1"), (Table.LIVE, b"b", b"2")])

    assert list(store.scan(Table.LIVE)) == [(b"b", b"2")]


def test_deleting_what_is_not_there_is_allowed(store: Store) -> None:
    store.write([(Table.LIVE, b"a", None)])

    assert store.get(Table.LIVE, b"a") is None


def test_scan_includes_start_and_excludes_stop_in_both_directions(store: Store) -> None:
    store.write([(Table.INDEX, bytes((n,)), b"") for n in range(6)])

    assert [k for k, _ in store.scan(Table.INDEX, b"\2", b"\4")] == [b"\2", b"\3"]
    assert [k for k, _ in store.scan(Table.INDEX, b"\2", b"\4", reverse=True)] == [b"\3", b"\2"]
    assert [k[0] for k, _ in store.scan(Table.INDEX, reverse=True)] == [5, 4, 3, 2, 1, 0]
    assert [k[0] for k, _ in store.scan(Table.INDEX, b"\4")] == [4, 5]


def test_scan_given_up_early_leaves_the_store_usable(store: Store) -> None:
    store.write([(Table.INDEX, bytes((n,)), b"") for n in range(6)])

    assert next(store.scan(Table.INDEX))[0] == b"\0"

    store.write([(Table.INDEX, b"\0", None)])
    assert next(store.scan(Table.INDEX))[0] == b"\1"


def test_checkpoint_is_a_store_of_its_own_and_stays_as_it_was(
    driver: tuple[MakeStore, OpenCopy], tmp_path: Path
) -> None:
    make, open_copy = driver
    store = make()
    store.write([(Table.LIVE, b"a", b"before"), (Table.META, b"m", b"1")])

    store.checkpoint(str(tmp_path / "copy"))
    store.write([(Table.LIVE, b"a", b"after")])

    copy = open_copy(store, str(tmp_path / "copy"))
    assert copy.get(Table.LIVE, b"a") == b"before"
    assert copy.get(Table.META, b"m") == b"1"
    copy.write([(Table.LIVE, b"a", b"elsewhere")])
    assert store.get(Table.LIVE, b"a") == b"after"


def test_checkpoint_does_not_replace_anything(store: Store, tmp_path: Path) -> None:
    store.checkpoint(str(tmp_path / "copy"))

    with pytest.raises(FileExistsError):
        store.checkpoint(str(tmp_path / "copy"))


def test_size_grows_with_what_is_written(store: Store) -> None:
    before = store.size_bytes()

    store.write([(Table.PAYLOAD, bytes((n,)), bytes(range(256)) * 400) for n in range(100)])
    store.sync()

    assert store.size_bytes() > before + 1_000_000


def test_close_may_be_called_twice(store: Store) -> None:
    store.close()
    store.close()


_keys = st.binary(min_size=1, max_size=3)
_changes = st.tuples(
    st.sampled_from([Table.LIVE, Table.INDEX]), _keys, st.one_of(st.none(), st.binary(max_size=4))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(_changes, max_size=8), max_size=6), start=_keys, stop=st.none() | _keys)
def test_every_driver_reads_what_a_plain_dict_would(
    store: Store, batches: list[list[tuple[Table, bytes, bytes | None]]], start: bytes, stop: bytes | None
) -> None:
    store.write([(t, k, None) for t in (Table.LIVE, Table.INDEX) for k, _ in list(store.scan(t))])
    model: dict[Table, dict[bytes, bytes]] = {Table.LIVE: {}, Table.INDEX: {}}

    for batch in batches:
        store.write(batch)
        for table, key, value in batch:
            if value is None:
                model[table].pop(key, None)
            else:
                model[table][key] = value

    for table, rows in model.items():
        found = sorted((k, v) for k, v in rows.items() if k >= start and (stop is None or k < stop))
        assert list(store.scan(table, start, stop)) == found
        assert list(store.scan(table, start, stop, reverse=True)) == found[::-1]
        assert store.get_many(table, list(rows)) == list(rows.values())
