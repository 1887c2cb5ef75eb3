"""Walking through a column family without ever taking damage for the end.

rocksdict's `items()` stops at a block it cannot read as if there were nothing more. Its plain iterator does the same
but says so when asked for its status; so that is used, and asked. It raises what rocksdict raises.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import cast

from rocksdict import Rdict, ReadOptions

from tq.errors import StoreDamaged

_ROWS_PER_LAP = 100_000


def ascending(family: Rdict, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Rows with start <= key < stop, lowest first."""
    options = ReadOptions()
    if stop is not None:
        options.set_iterate_upper_bound(stop)
    rows = family.iter(options)
    rows.seek(start)
    valid, key, value, step = rows.valid, rows.key, rows.value, rows.next
    while valid():
        yield key(), value()
        step()
    rows.status()


def descending(family: Rdict, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Rows with start <= key < stop, highest first."""
    options = ReadOptions()
    if stop is not None:
        options.set_iterate_upper_bound(stop)
    rows = family.iter(options)
    rows.seek_to_last()
    valid, key, value, step = rows.valid, rows.key, rows.value, rows.prev
    # rocksdict does not pass a lower bound on, so it is kept here.
    while valid() and (found := key()) >= start:
        yield found, value()
        step()
    rows.status()


def count(family: Rdict, on_progress: Callable[[int], None]) -> int:
    """Read every row, verifying the checksum of every block. Returns how many rows there are.

    Only keys are fetched, a lap at a time and at C speed; at the end a plain iterator is asked whether it was the end
    or damage. Nothing may be written meanwhile.
    """
    options = ReadOptions()
    options.set_verify_checksums(True)
    options.set_readahead_size(1024**2)
    options.fill_cache(False)  # type: ignore[call-arg]  # rocksdict's stubs leave the argument out
    keys = cast("Iterator[bytes]", family.keys(read_opt=options))
    total = 0
    place = b""
    while lap := deque(enumerate(islice(keys, _ROWS_PER_LAP), start=1), maxlen=1):
        rows_read, last = lap[0]
        total += rows_read
        place = last + b"\0"
        on_progress(total)
    probe = family.iter(options)
    probe.seek(place)
    probe.status()
    if probe.valid():
        raise StoreDamaged(f"rows after key {place.hex()} cannot be walked through")
    return total
