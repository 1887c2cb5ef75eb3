"""Starts tq's programs, knows when they are ready, and ends every one it started.

A program runs in a process group of its own, so that a Ctrl-C in the terminal reaches only the caller, who ends
the others in order, and so that a killed worker takes its children with it. What a program says goes to a log file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

READY_SECONDS_MAX = 120.0
"""From exec to the ready line, on a loaded machine and with a large store to read back; or to the end of one that is
refused its start."""
STOP_SECONDS_MAX = 40.0
"""The broker promises 10 s, and then Python ends; a worker whose tasks are short drains sooner. Whoever looks at the
promise itself measures it."""
ABORT_SECONDS_MAX = 2.0
SAYS_WHERE_IT_STANDS = {"PYTHONFAULTHANDLER": "1"}
"""For Python: the stack of every thread goes to the log on SIGABRT, and when it crashes."""
POLL_SECONDS = 0.005
LOG_TAIL_LINES = 30

T = TypeVar("T")


class ProcessFailed(Exception):
    """A program ended or stayed silent when it should have been running; the text holds the end of its log."""


class Process:
    """One program of ours, running. Leaving the `with` block stops it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Start it. env: beside what this process has. directory: where it runs; None = here."""
        self.log_path = log_path
        self._log_start = log_path.stat().st_size if log_path.exists() else 0
        with log_path.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SAYS_WHERE_IT_STANDS, **(env or {})},
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child.poll() is None

    def kill(self) -> None:
        """SIGKILL to the program and its children; returns when it is gone. Calling it twice is allowed."""
        self.send(signal.SIGKILL)
        self._child.wait()

    def send(self, number: int) -> None:
        """A signal to the program and its children, SIGSTOP and SIGCONT for two; returns at once."""
        with suppress(ProcessLookupError):  # everything in the group has ended already
            os.killpg(self._child.pid, number)

    def terminate(self) -> None:
        """SIGTERM to the program alone, as a service manager or a container would; returns at once."""
        if self.is_running:
            self._child.terminate()

    def wait(self, timeout: float = READY_SECONDS_MAX) -> int:
        """The exit code, negative for a signal. Raises ProcessFailed when it is still running after timeout seconds."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(f"still running after {timeout:.0f} s\n{self.log_tail()}") from error

    def stop(self, timeout: float = STOP_SECONDS_MAX) -> int:
        """SIGTERM, then SIGKILL to whatever is left after timeout seconds. The exit code.

        Before that the log gets the stack of every thread, and where in the kernel each is: why a program does not stop
        is seldom seen twice.
        """
        self.terminate()
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._log_threads()
            self._child.send_signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(ABORT_SECONDS_MAX)
            return signal.SIGKILL
        finally:
            self.kill()

    def _log_threads(self) -> None:
        """One that the kernel holds (a write to a slow disk) says nothing itself."""
        with self.log_path.open("a") as log:
            for thread in sorted(Path(f"/proc/{self.pid}/task").glob("*")):
                with suppress(OSError):  # it has ended since
                    state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                    waits_in = (thread / "wchan").read_text()
                    name = (thread / "comm").read_text().strip()
                    log.write(f"thread {thread.name} {name}: state {state}, in the kernel at {waits_in}\n")

    def events(self) -> Iterator[dict[str, object]]:
        """The JSON log lines of this run so far; other lines are passed over."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            for line in log.read().splitlines():
                if line.startswith(b"{"):
                    try:
                        yield json.loads(line)
                    except ValueError:  # a line that is still being written
                        return

    def wait_for_event(self, name: str, timeout: float = READY_SECONDS_MAX) -> dict[str, object]:
        """The first log line with this `event`. Raises ProcessFailed when the program ends or timeout passes first."""

        def logged() -> dict[str, object] | None:
            ended = not self.is_running
            found = next((line for line in self.events() if line.get("event") == name), None)
            if found is None and ended:
                raise ProcessFailed(f"ended with {self.wait()} before {name!r}\n{self.log_tail()}")
            return found

        return wait_until(logged, timeout, what=lambda: f"no {name!r} in its log\n{self.log_tail()}")

    def log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_broker(
    directory: Path,
    *arguments: str,
    port: int = 0,
    log_path: Path | None = None,
    command: Sequence[str] = (),
) -> Process:
    """A broker on 127.0.0.1 with its data in directory/data, its other doors on free ports. Not ready yet.

    port: 0 = a free one; `broker_address` says which. command: what runs in tq-broker's place, with its flags.
    """
    command = [
        *(command or (program("tq-broker"),)),
        *("--host", "127.0.0.1", "--port", str(port), "--rest-port", "0", "--grpc-port", "0"),
        *("--data-dir", str(directory / "data"), "--log-format", "json", *arguments),
    ]
    return Process(command, log_path=log_path or directory / "broker.log")


def broker_address(broker: Process, timeout: float = READY_SECONDS_MAX) -> str:
    """host:port of the task protocol, once the broker is ready."""
    addresses = broker.wait_for_event("ready", timeout)["addresses"]
    assert isinstance(addresses, dict), addresses
    return str(addresses["tcp"])


def start_worker(
    directory: Path,
    address: str,
    *arguments: str,
    name: str = "worker",
    python_path: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Process:
    """A worker that dials address. python_path: where MODULE:APP is imported from. env: for its handlers."""
    command = [
        program("tq-worker"),
        *arguments,
        *("--broker-addr", address, "--worker-id", name, "--log-format", "json"),
    ]
    added = dict(env or {})
    if python_path is not None:
        paths = [str(python_path), os.environ.get("PYTHONPATH")]
        added["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return Process(command, log_path=directory / f"{name}.log", env=added)


def program(name: str) -> str:
    """The path of one of tq's commands, from the environment this Python runs in."""
    return str(Path(sys.executable).with_name(name))


def wait_until(
    condition: Callable[[], T | None], timeout: float, *, what: Callable[[], str], every: float = POLL_SECONDS
) -> T:
    """The condition's first true value, asked for every so many seconds. Raises ProcessFailed with what() after timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise ProcessFailed(f"waited {timeout:.0f} s: {what()}")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP end the caller the way Ctrl-C does, so that `with` blocks run."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
