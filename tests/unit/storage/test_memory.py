"""What the in-memory store adds to the port: crashes, failures, a full disk."""

from __future__ import annotations

import errno
from random import Random

import pytest

from tq.broker.storage.memory import MemoryStore
from tq.broker.tables import Table


def put(store: MemoryStore, number: int) -> None:
    """One batch over two tables, to see that it survives whole or not at all."""
    key = bytes((number,))
    store.write([(Table.LIVE, key, b"x"), (Table.PAYLOAD, key, b"y")])


def held(store: MemoryStore) -> list[int]:
    numbers = [key[0] for key, _ in store.scan(Table.LIVE)]
    assert numbers == [key[0] for key, _ in store.scan(Table.PAYLOAD)]
    return numbers


def test_crash_keeps_what_was_synced_and_nothing_else() -> None:
    store = MemoryStore()
    put(store, 1)
    store.sync()
    put(store, 2)

    store.crash()

    assert held(store) == [1]


def test_crash_with_a_seed_keeps_a_prefix_of_the_unsynced_batches() -> None:
    seen = set()
    for seed in range(40):
        store = MemoryStore()
        put(store, 0)
        store.sync()
        for number in range(1, 5):
            put(store, number)

        kept = store.crash(Random(seed))

        assert held(store) == list(range(kept + 1))
        seen.add(kept)
    assert seen == {0, 1, 2, 3, 4}


def test_what_survived_a_crash_is_durable() -> None:
    store = MemoryStore()
    put(store, 1)
    kept = store.crash(Random(1))
    store.crash()

    assert len(held(store)) == kept


@pytest.mark.parametrize("operation", ["write", "sync", "checkpoint"])
def test_after_a_failure_everything_is_refused_until_the_process_is_new(operation: str) -> None:
    store = MemoryStore()
    put(store, 1)
    store.sync()
    store.fail_next(operation)

    with pytest.raises(OSError, match="simulated failure"):
        {"write": lambda: put(store, 2), "sync": store.sync, "checkpoint": lambda: store.checkpoint("x")}[
            operation
        ]()

    for attempt in (lambda: put(store, 3), store.sync, lambda: store.checkpoint("y")):
        with pytest.raises(OSError, match="after a failure"):
            attempt()
    store.crash()
    assert held(store) == [1]
    put(store, 4)
    assert held(store) == [1, 4]


def test_failed_write_shows_nothing() -> None:
    store = MemoryStore()
    store.fail_next("write", OSError(errno.EIO, "torn"))

    with pytest.raises(OSError, match="torn"):
        put(store, 1)

    assert held(store) == []


def test_full_disk_refuses_the_write_that_does_not_fit() -> None:
    store = MemoryStore(disk_bytes_max=10)
    put(store, 1)

    with pytest.raises(OSError, match="no space") as caught:
        store.write([(Table.PAYLOAD, b"k", bytes(10))])

    assert caught.value.errno == errno.ENOSPC
    assert held(store) == [1]


def test_deleting_makes_room() -> None:
    store = MemoryStore(disk_bytes_max=8)
    for number in range(20):
        put(store, number)
        store.write([(table, bytes((number,)), None) for table in (Table.LIVE, Table.PAYLOAD)])

    assert store.size_bytes() == 0
