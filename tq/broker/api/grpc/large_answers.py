"""Large answers that have not been read yet: how many bytes of them one connection may make the broker hold.

Small ones need no counting: a connection has only so many streams. A stream's messages need none either, because the
next is written when the one before was taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from tq.errors import RateLimited

if TYPE_CHECKING:
    from tq.broker.api.grpc.call import Call

LARGE_BYTES = 64 * 1024
"""Answers up to here do not count."""
UNREAD_RETRY_MS = 1_000


class LargeAnswers:
    """bytes_max: of one connection; the first answer always fits. take, give_back: told of what all hold together."""

    def __init__(
        self, bytes_max: int, *, take: Callable[[int], None], give_back: Callable[[int], None]
    ) -> None:
        self._bytes_max = bytes_max
        self._take = take
        self._give_back = give_back
        self._calls: dict[Call, tuple[str, int]] = {}
        self._connections: Counter[str] = Counter()

    @property
    def bytes_total(self) -> int:
        return self._connections.total()

    def add(self, call: Call, size: int) -> RateLimited | None:
        """Why the answer does not fit; None when it does, and then it counts until `drop`."""
        connection = call.peer()
        unread = self._connections[connection]
        if unread and unread + size > self._bytes_max:
            return RateLimited(
                f"answers of {unread} bytes wait to be read on this connection; read them first",
                retry_after_ms=UNREAD_RETRY_MS,
            )
        self._calls[call] = connection, size
        self._connections[connection] = unread + size
        self._take(size)
        return None

    def drop(self, call: Call) -> None:
        """The call is over; nothing happens when it had no large answer."""
        connection, size = self._calls.pop(call, ("", 0))
        if size:
            self._give_back(size)
            self._connections[connection] -= size
            if not self._connections[connection]:
                del self._connections[connection]
