"""The port under the engine: ordered byte keys in named tables, written in atomic batches.

Rules of the port, kept by every driver and checked by `tests/conformance`:
- `write` is atomic over all tables and visible to the next read; it is *not* durable until `sync` returns.
- Batches become durable in the order they were written: after a crash the store holds a prefix of them.
- `write`, `sync` and `checkpoint` are called from one thread (the disk thread); reads from any.
- Damage raises StoreDamaged naming the place; it is never "not found". A failed write or sync raises OSError,
  after which the driver refuses everything: the process is expected to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from tq.broker.tables import Table


class Write(NamedTuple):
    """One change. value None deletes the key."""

    table: Table
    key: bytes
    value: bytes | None


class Store(Protocol):
    def get(self, table: Table, key: bytes) -> bytes | None: ...

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values in the order of keys."""
        ...

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, ascending, or descending with reverse. stop None = to the end.

        What is written while a scan is open may or may not be seen; lazily read, so take what you need and drop it.
        """
        ...

    def write(self, batch: Sequence[Write | tuple[Table, bytes, bytes | None]]) -> None:
        """Apply all of the batch or nothing; within it the last change of a key counts."""
        ...

    def prepare(self, batch: Sequence[Write | tuple[Table, bytes, bytes | None]]) -> Callable[[], None]:
        """Get `write` ready: a job that writes this batch, to be called once.

        What takes the interpreter's time is done here, on any thread; what the job does leaves it to others.
        """
        ...

    def sync(self) -> None:
        """Return once everything written before is on the disk."""
        ...

    def checkpoint(self, directory: str) -> None:
        """Make a consistent copy, openable as a store of its own, in a directory that does not exist yet."""
        ...

    def size_bytes(self) -> int:
        """About how much disk the store takes."""
        ...

    def close(self) -> None:
        """Sync and let go. Calling it twice is allowed."""
        ...
