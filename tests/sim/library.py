"""pysyncobj without a clock, a poller, threads or chance of its own.

The library takes these from names in its module `syncobj`; for the length of a run they are others. Its code is
unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pysyncobj.syncobj as syncobj

PRIVATE = "_SyncObj__"
"""In front of the names of the library's private attributes."""


class NoPoller:
    """There are no sockets to wait for."""

    def subscribe(self, *_: object) -> None:
        return None

    def unsubscribe(self, *_: object) -> None:
        return None

    def poll(self, _: float) -> None:
        return None


class Chance:
    """Stands where the library expects the module `random`."""

    def __init__(self, rng: Random) -> None:
        self.random = rng.random


@contextmanager
def taken_over(monotonic: Callable[[], float], rng: Random, **others: Any) -> Iterator[None]:
    """Replace the library's clock, chance and poller, and the module's names in `others`, until the end."""
    replaced = {
        "monotonicTime": monotonic,
        "random": Chance(rng),
        "createPoller": lambda _: NoPoller(),
        **others,
    }
    before = {name: getattr(syncobj, name) for name in replaced}
    logger = logging.getLogger("pysyncobj")
    was_disabled, logger.disabled = logger.disabled, True
    inner = logging.getLogger("pysyncobj.syncobj")
    inner_was_disabled, inner.disabled = inner.disabled, True
    try:
        for name, value in replaced.items():
            setattr(syncobj, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(syncobj, name, value)
        logger.disabled, inner.disabled = was_disabled, inner_was_disabled


def private(node: Any, name: str) -> Any:
    """A private attribute of a SyncObj."""
    return getattr(node, PRIVATE + name)
