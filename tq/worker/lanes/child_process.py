"""One child process as its worker sees it: started, fed over a socket pair, killed, mourned.

It is gone when the process has exited *and* its pipe has been read to the end: an ending that was written just before
the exit counts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Protocol, cast

from tq.logs import get_logger
from tq.worker.ending import Ending
from tq.worker.lanes.pipe import ENDED, EXTEND, PROGRESS, READY, Reassembly, pack
from tq.worker.run import Run

log = get_logger("worker")

START_WAIT_S = 30.0
"""A child that has not loaded the app by then is killed."""
LAST_WORDS_WAIT_S = 0.2
"""How long after its exit a child's pipe may stay open: some descendant that left its process group holds it."""


class Owner(Protocol):
    """The lane. Called on the main loop."""

    def on_ready(self, child: ChildProcess) -> None: ...

    def on_ended(self, child: ChildProcess, run: Run, ending: Ending) -> None: ...

    def on_exited(self, child: ChildProcess, how: str) -> None: ...


class ChildProcess:
    """run: what it works on. started: it is ready, or it never will be. exited: it is gone."""

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, command: tuple[str, str]) -> None:
        """Starts at once, in the background. command: (MODULE:APP, kind)."""
        self.run: Run | None = None
        self.pid = 0
        self.is_ready = False
        self.tasks_run = 0
        self.started = asyncio.Event()
        self.exited = asyncio.Event()
        self._owner = owner
        self._loop = loop
        self._reassembly = Reassembly()
        self._pipe: asyncio.WriteTransport | None = None
        self._process: asyncio.SubprocessTransport | None = None
        self._is_killed = False
        self._birth = loop.create_task(self._start(command))

    def take(self, run: Run) -> None:
        """Run this task. Only when ready and without one."""
        assert self._pipe is not None and self.run is None
        self.run = run
        self.tasks_run += 1
        self._pipe.write(pack(run.delivery))

    def kill(self) -> None:
        """SIGKILL, to everything in its process group; a child that is being born dies when it is there."""
        self._is_killed = True
        if self.pid:
            # Also when the child itself has exited: what it started may still be there, in its group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def retire(self) -> None:
        """It has done its share and has no task: it leaves when its pipe closes."""
        if self._pipe is not None:
            self._pipe.close()

    async def _start(self, command: tuple[str, str]) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._pipe, _ = await self._loop.create_unix_connection(lambda: _Pipe(self), sock=ours)
            self._process, _ = await self._loop.subprocess_exec(
                lambda: _Process(self),
                *(sys.executable, "-m", "tq.worker.lanes.child", str(theirs.fileno()), *command),
                stdin=None,
                stdout=None,
                stderr=None,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self._gone(f"could not be started: {error}")
            return
        finally:
            theirs.close()
        self.pid = self._process.get_pid()
        if self._is_killed:
            self.kill()
        self._loop.call_later(START_WAIT_S, self._check_started)

    def _check_started(self) -> None:
        if not self.is_ready and not self.exited.is_set():
            log.error(
                "child_stuck", f"a child process was not ready within {START_WAIT_S:.0f} s", pid=self.pid
            )
            self.kill()

    # ------------------------------------------------------------ called by the two transports

    def on_data(self, data: bytes) -> None:
        try:
            for word, *fields in self._reassembly.feed(data):
                self._on_message(cast("int", word), fields)
        except (ValueError, TypeError) as error:
            log.error("child_garbled", f"a child process sent what is no message: {error}", pid=self.pid)
            self.kill()

    def _on_message(self, word: int, fields: list[object]) -> None:
        run = self.run
        if word == READY:
            self.is_ready = True
            self.started.set()
            self._owner.on_ready(self)
        elif run is None:
            return
        elif word == ENDED:
            self.run = None
            self._owner.on_ended(self, run, Ending(*fields))  # type: ignore[arg-type]
        elif word == PROGRESS:
            permille, text = fields
            run.context.progress(cast("int", permille) / 1000, cast("str", text))
        elif word == EXTEND:
            run.context.extend(cast("int", fields[0]) / 1000)

    def on_pipe_closed(self) -> None:
        self._pipe = None
        self._check_gone()

    def on_process_exited(self) -> None:
        self.kill()
        self._check_gone()
        self._loop.call_later(LAST_WORDS_WAIT_S, self.retire)

    def _check_gone(self) -> None:
        code = self._process.get_returncode() if self._process is not None else None
        if code is not None and self._pipe is None:
            self._gone(_how(code))

    def _gone(self, how: str) -> None:
        if not self.exited.is_set():
            self.exited.set()
            self.started.set()
            self._owner.on_exited(self, how)


class _Pipe(asyncio.Protocol):
    def __init__(self, child: ChildProcess) -> None:
        self._child = child

    def data_received(self, data: bytes) -> None:
        self._child.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._child.on_pipe_closed()


class _Process(asyncio.SubprocessProtocol):
    def __init__(self, child: ChildProcess) -> None:
        self._child = child

    def process_exited(self) -> None:
        self._child.on_process_exited()


def _how(code: int) -> str:
    """In words, how a process ended."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; was it out of memory?" if name == "SIGKILL" else ""
    return f"was killed by signal {-code} ({name}){hint}"
