"""The port that orders entries and keeps them: `LocalLog` on one node, `RaftLog` in a cluster.

Rules, kept by every driver and checked by `tests/conformance`:
- Entries are numbered in order; a number is left out only for what a cluster's log keeps for itself.
  `on_commit(index, data)` is called on the event loop, in order, once per entry per start: first for what the log
  still holds after `after`, then for each new entry as it commits.
  On the proposing node `data` is the very object that was proposed, so its decoded form can be kept beside it.
- `propose` ends in exactly one of three ways: its future gives the index (committed, durable, and on_commit has
  run), raises an *unavailable* error (never appended), or OutcomeUnknown.
- The future resolves only after the fsync that covers the entry, on a majority when there are several nodes.
- Damage raises StoreDamaged naming file and remedy. A failed write or sync goes to `on_fatal`: the process stops.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import Protocol

OnCommit = Callable[[int, bytes], None]
OnFatal = Callable[[BaseException], None]


class ReplicatedLog(Protocol):
    @property
    def first_index(self) -> int:
        """Lowest index still held; last_index + 1 when none is."""
        ...

    @property
    def last_index(self) -> int: ...

    @property
    def is_leader(self) -> bool: ...

    async def start(self, after: int, on_commit: OnCommit) -> None:
        """Replay every held entry above `after`, then accept proposals.

        Raises StoreDamaged when the entry after+1 should be there and is not.
        """
        ...

    def propose(self, data: bytes) -> Future[int]:
        """Add one entry. One may be in flight at a time; proposing earlier is a programmer's error."""
        ...

    def release(self, upto: int) -> None:
        """Entries up to and including `upto` are durable in the store and may be forgotten, by and by."""
        ...

    async def close(self) -> None: ...
