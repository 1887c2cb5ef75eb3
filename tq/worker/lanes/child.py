"""The program of a child process: imports the app, then runs one task after the other until its pipe closes.

    python -m tq.worker.lanes.child FD MODULE:APP KIND

The handler runs in the main thread, where signals and libraries that insist on it work. A second thread reads the
pipe: when the worker is gone, however it went, the child goes too, in the middle of a handler if need be.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import cast

from tq.clock import SystemClock
from tq.verbs import Delivery
from tq.worker.app import App
from tq.worker.context import TaskContext
from tq.worker.definition import Kind
from tq.worker.ending import Ending, ending_of_error
from tq.worker.invoke import invoke_async, invoke_sync
from tq.worker.lanes.pipe import ENDED, EXTEND, LENGTH_BYTES, PROGRESS, READY, length_of, pack, unpack
from tq.worker.loading import load_app

SHUT_DOWN_WAIT_S = 5.0


class Child:
    """Both ends of one child's work: deliveries in, endings and news out."""

    def __init__(self, pipe: socket.socket, app: App, kind: Kind) -> None:
        self._pipe = pipe
        self._app = app
        self._registry = app.registry(kind)
        self._clock = SystemClock()
        self._deliveries: SimpleQueue[Delivery | None] = SimpleQueue()
        self._is_busy = False
        self._has_ended = threading.Event()
        self._sending = threading.Lock()

    def live(self) -> None:
        """Run tasks until the pipe closes."""
        with asyncio.Runner() as runner:
            surroundings = self._app.running()
            runner.run(surroundings.__aenter__())
            threading.Thread(target=self._read, name="tq-pipe", daemon=True).start()
            self._send(READY)
            while (delivery := self._deliveries.get()) is not None:
                self._is_busy = True
                ending = self._attempt(delivery, runner)
                self._is_busy = False
                self._send(ENDED, *ending)
            runner.run(surroundings.__aexit__(None, None, None))

    def report_progress(self, _delivery: Delivery, permille: int, text: str) -> None:
        self._send(PROGRESS, permille, text)

    def request_extension(self, _delivery: Delivery, ms: int) -> None:
        self._send(EXTEND, ms)

    def _attempt(self, delivery: Delivery, runner: asyncio.Runner) -> Ending:
        definition = self._registry.get(delivery.task_type)
        if definition is None:
            return ending_of_error(LookupError(f"the child process knows no task {delivery.task_type!r}"))
        context = TaskContext(delivery, self, self._clock, self._clock.monotonic_ms())
        if definition.is_coroutine:
            return runner.run(invoke_async(self._app, definition, context, delivery.payload))
        return invoke_sync(self._app, definition, context, delivery.payload)

    def _send(self, *message: object) -> None:
        with self._sending:
            self._pipe.sendall(pack(message))

    def _read(self) -> None:
        with suppress(EOFError, OSError, ValueError):
            while True:
                length = length_of(_exactly(self._pipe, LENGTH_BYTES))
                self._deliveries.put(Delivery(*unpack(_exactly(self._pipe, length))))  # type: ignore[arg-type]
        # The worker has gone or said goodbye. Without a task there is time for the shut-down hooks. A handler that
        # still runs belongs to a lease that is lost: it ends here.
        if not self._is_busy:
            self._deliveries.put(None)
            self._has_ended.wait(SHUT_DOWN_WAIT_S)
        os._exit(0)


def _exactly(pipe: socket.socket, count: int) -> bytearray:
    """So many bytes. Raises EOFError when the other end has closed."""
    data = bytearray(count)
    view = memoryview(data)
    got = 0
    while got < count:
        more = pipe.recv_into(view[got:])
        if more == 0:
            raise EOFError
        got += more
    return data


def main() -> None:
    """Entry of the child; its arguments come from `processes.py`."""
    _, fd, app_path, kind = sys.argv
    # A terminal's Ctrl-C and a service manager's SIGTERM to the whole group are for the worker, which drains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe = socket.socket(fileno=int(fd))
    sys.path.insert(0, "")
    Child(pipe, load_app(app_path), cast("Kind", kind)).live()


if __name__ == "__main__":
    main()
