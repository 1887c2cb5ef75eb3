"""The bcrypt checks of tokens nobody has seen before: on one thread, in a bounded queue that is fair to hosts.

A check takes a good part of a second of a processor, and anybody may ask for one. So:
- There is one thread, and it yields to the event loop, the disk and everybody else on the machine.
- A host has only so many checks waiting, all hosts together so many; hosts are served in turn. Whoever floods the
  broker with wrong keys waits behind himself.
- A check looks at one token against every hash. `take` puts the next into a thread when one is free.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import bcrypt

from tq.logs import get_logger

THREADS = 1
"""Two would take both processors of a small machine while somebody floods the broker with wrong keys."""
NICENESS = 15
"""A check gets what the event loop and the disk leave, and about a thirtieth of a processor when they leave nothing."""
WAITING_MAX = 256
"""Checks that wait, of all hosts."""
WAITING_PER_HOST_MAX = 16
"""A machine starts that many programs with different keys at a time; programs that share a key share a check."""

_log = get_logger("broker")


class Check(NamedTuple):
    """One token to be looked at. told: called on the loop with the position of the hash that fits, -1 for none."""

    token: bytes
    hashes: Sequence[bytes]
    told: Callable[[int], None]


class Checks:
    """Only the event loop's thread may call it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads: ThreadPoolExecutor | None = None
        self._waiting: OrderedDict[str, deque[Check]] = OrderedDict()
        self._waiting_count = 0
        self._running = 0
        self._is_closed = threading.Event()

    def add(self, check: Check, host: str) -> bool:
        """Begin it, at once or later. False, and nothing is done, when too many wait."""
        own = self._waiting.get(host)
        is_full = self._waiting_count >= WAITING_MAX or (own is not None and len(own) >= WAITING_PER_HOST_MAX)
        if is_full or self._is_closed.is_set():
            return False
        if own is None:
            own = self._waiting[host] = deque()
        own.append(check)
        self._waiting_count += 1
        self._begin()
        return True

    def close(self) -> None:
        """Begin no more; who waits is not told. A hash that is being looked at is not waited for."""
        self._is_closed.set()
        self._waiting.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        """Start what there is a thread for, one of each host in turn."""
        while self._waiting and self._running < THREADS:
            host, own = self._waiting.popitem(last=False)
            check = own.popleft()
            if own:
                self._waiting[host] = own
            self._waiting_count -= 1
            self._running += 1
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, "key-check", initializer=_yield_to_others)
            self._threads.submit(self._look, check)

    def _look(self, check: Check) -> None:
        """On one of the threads."""
        found = -1
        for position, key_hash in enumerate(check.hashes):
            if self._is_closed.is_set():
                return
            if _fits(check.token, key_hash):
                found = position
                break
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            self._loop.call_soon_threadsafe(self._looked, check, found)

    def _looked(self, check: Check, found: int) -> None:
        self._running -= 1
        if not self._is_closed.is_set():
            check.told(found)
            self._begin()


def _fits(token: bytes, key_hash: bytes) -> bool:
    try:
        return bcrypt.checkpw(
            token, key_hash
        )  # compares in constant time, and leaves the interpreter to others
    except ValueError:
        _log.error(
            "key_hash_unusable",
            "a configured key hash is no bcrypt hash; make a new one with tq-admin hash-key",
        )
        return False


def _yield_to_others() -> None:
    """On Linux each thread has a priority of its own; elsewhere it would be the whole process's."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
