"""How a broker process ends: when asked to, when it cannot start, and when it must not go on.

Exit codes follow sysexits.h, so that a supervisor can tell "restart me" from "a person must look first":
0 stopped as asked · 2 configuration, or data that is not for it · 65 the data on disk is damaged · 69 something else has
what we need · 70 a defect in the broker · 74 the disk failed · 77 not permitted.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tq.errors import StoreDamaged, TqError, Unsupported
from tq.logs import get_logger

EXIT_OK = 0
EXIT_CONFIGURATION = 2
EXIT_DAMAGED = 65
EXIT_UNAVAILABLE = 69
EXIT_DEFECT = 70
EXIT_DISK = 74
EXIT_PERMISSION = 77

_log = get_logger("broker")

_LOOK = "look at the disk and the kernel's log, run `tq-admin verify` on the data directory, start again"
_REPORT = "this is a defect; start again and report this line: what was acknowledged is kept"
_REMEDIES = {
    errno.EADDRINUSE: (EXIT_UNAVAILABLE, "something listens there already; stop it or choose another port"),
    errno.EADDRNOTAVAIL: (EXIT_UNAVAILABLE, "this machine has no such address; choose another host"),
    errno.EACCES: (EXIT_PERMISSION, "the user of this process may not do that; change the owner or the mode"),
    errno.EPERM: (EXIT_PERMISSION, "the user of this process may not do that; change the owner or the mode"),
    errno.EROFS: (EXIT_PERMISSION, "the file system is read-only; choose another directory"),
    errno.ENOSPC: (EXIT_DISK, "the disk is full; make room and start again"),
    errno.EDQUOT: (EXIT_DISK, "the disk quota is used up; make room and start again"),
    errno.EMFILE: (EXIT_UNAVAILABLE, "too many files are open; raise `ulimit -n`"),
}
"""errno -> exit code and what to do, for the failures people meet when they start a broker."""


class CannotStart(Exception):
    """The broker cannot start; the text says what, why and what to do."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@contextmanager
def opening(what: str) -> Iterator[None]:
    """Turn what goes wrong while `what` is opened into CannotStart."""
    try:
        yield
    except StoreDamaged as error:
        raise CannotStart(f"{what} is damaged: {error.text}", EXIT_DAMAGED) from error
    except Unsupported as error:
        # What is configured and what is there do not go together: another try changes nothing.
        raise CannotStart(f"cannot open {what}: {error.text}", EXIT_CONFIGURATION) from error
    except TqError as error:
        raise CannotStart(f"cannot open {what}: {error.text}", EXIT_UNAVAILABLE) from error
    except OSError as error:
        code, remedy = _REMEDIES.get(error.errno or 0, (EXIT_DISK, "see the reason before this"))
        reason = error.strerror or str(error)
        raise CannotStart(f"cannot open {what}: {reason}; {remedy}", code) from error


def _remedy(error: BaseException) -> str:
    """For what the disk did while the broker ran. A full one is nothing to look for in the kernel's log."""
    code = error.errno if isinstance(error, OSError) else None
    return _REMEDIES[code][1] if code in (errno.ENOSPC, errno.EDQUOT) else _LOOK


class Fatal:
    """Ends the process at once when going on could lose or corrupt what was acknowledged.

    Nothing is flushed, closed or answered: what is on the disk is what was acknowledged, and a restart reads it.
    May be called on any thread.
    """

    def __init__(self, exit: Callable[[int], object] = os._exit) -> None:
        self._exit = exit

    def __call__(self, error: BaseException) -> None:
        is_disk = isinstance(error, OSError | StoreDamaged)
        _log.critical(
            "fatal",
            f"the broker stops: {error}" if str(error) else f"the broker stops: {type(error).__name__}",
            cause=type(error).__name__,
            remedy=_remedy(error) if is_disk else _REPORT,
            exc_info=error,
        )
        self._exit(EXIT_DISK if is_disk else EXIT_DEFECT)

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler.

        What escapes a connection's own protocol costs that connection only: the loop has closed it. What escapes
        any other callback has left the state of the broker half changed.
        """
        error = context.get("exception")
        message = str(context.get("message", ""))
        if error is None or "handle" not in context:
            _log.error("unexpected", message or "an error reached the event loop", exc_info=error)
        else:
            self(error)


class Signals:
    """What the operating system asks for.

    stop, hurry: SIGTERM and SIGINT, the first and any further one. reload: SIGHUP; cleared by whoever reloads.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reload = asyncio.Event()

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def _received(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            _log.info("hurrying", f"{number.name} again: not waiting for anybody")
            self.hurry.set()
        else:
            _log.info("stopping", f"{number.name}: stopping")
            self.stop.set()
