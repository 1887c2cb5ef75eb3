"""Starts private Redis, RabbitMQ and PostgreSQL servers from Debian's packages, breaks them, and ends every one.

Each has a directory of its own and ports of its own, so that any number run side by side, as root too, next to whatever
the machine runs. `make servers` installs the packages. A killed server is started again on the same port and data.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.ports import ReservedPort
from lab.processes import Process, ProcessFailed, wait_until

READY_SECONDS_MAX = 100.0
"""RabbitMQ takes 4 s on an idle core, and several times that beside others."""
STOP_SECONDS_MAX = 20.0


class Server(ABC):
    """One server. Leaving the `with` block stops it and removes its directory."""

    name = "server"

    def __init__(self) -> None:
        """Start it and wait until it answers. Raises ProcessFailed with the end of its log."""
        self.directory = Path(tempfile.mkdtemp(prefix=f"tq-{self.name}-"))
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        try:
            self._process = self._started()
        except BaseException:
            self._remove()
            raise

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The server in the foreground, with everything it is told."""

    @abstractmethod
    def _answers(self) -> bool:
        """Is it ready for clients?"""

    def _env(self) -> Mapping[str, str]:
        """Beside what this process has."""
        return {}

    def kill(self) -> None:
        """SIGKILL; what it had not written is gone."""
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send(signal.SIGCONT)

    def start(self) -> None:
        """Start it again after `kill`, on its port and its data, and wait until it answers."""
        self._process = self._started()

    def stop(self) -> None:
        """End it and remove what it wrote."""
        self.resume()
        self._process.stop(STOP_SECONDS_MAX)
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _started(self) -> Process:
        process = Process(self._command(), log_path=self.directory / "log", env=self._env())

        def answers() -> bool:
            if not process.is_running:
                raise ProcessFailed(f"{self.name} ended with {process.wait()}\n{process.log_tail()}")
            return self._answers()

        try:
            wait_until(answers, READY_SECONDS_MAX, what=process.log_tail, every=0.02)
        except BaseException:
            process.kill()
            raise
        return process

    def _remove(self) -> None:
        self._reserved.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisServer(Server):
    """Redis with an append-only file. fsync: `always` keeps every write it acknowledged; `everysec` is Redis' own default."""

    name = "redis"

    def __init__(self, fsync: str = "always") -> None:
        self._fsync = fsync
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str]:
        return (
            binary("redis-server"),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--appendonly", "yes", "--appendfsync", self._fsync, "--save", "", "--daemonize", "no"),
        )

    def _answers(self) -> bool:
        return said(self.port, b"PING\r\n").startswith(b"+PONG")


class RabbitServer(Server):
    """RabbitMQ without plugins, its name server for Erlang beside it on a port of its own."""

    name = "rabbitmq"

    def __init__(self) -> None:
        self._names_port, self._dist_port = ReservedPort(), ReservedPort()
        with tempfile.NamedTemporaryFile(prefix="tq-epmd-") as log:
            self._names = Process(
                (binary("epmd"), "-port", str(self._names_port.number), "-address", "127.0.0.1"),
                log_path=Path(log.name),
            )
        try:
            super().__init__()
        except BaseException:
            self._end_names()
            raise

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def node(self) -> str:
        return f"tq{self.port}@localhost"

    def stop(self) -> None:
        super().stop()
        self._end_names()

    def _end_names(self) -> None:
        self._names.kill()
        self._names_port.close()
        self._dist_port.close()

    def _command(self) -> Sequence[str]:
        return (binary("rabbitmq-server"),)

    def _env(self) -> Mapping[str, str]:
        directory = str(self.directory)
        (self.directory / "plugins").write_text("[].\n")
        (self.directory / "rabbitmq.conf").write_text("")
        return {
            "HOME": directory,  # where the Erlang cookie is made
            "ERL_EPMD_PORT": str(self._names_port.number),
            # Schedulers that spin while they wait take the cores from what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none",
            "RABBITMQ_DIST_PORT": str(self._dist_port.number),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_LOG_BASE": directory,
            "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": f"{directory}/pid",
        }

    def _answers(self) -> bool:
        # What is no AMQP header is answered with the header that would be right.
        return said(self.port, b"AMQP\x00\x00\x00\x00").startswith(b"AMQP")


class PostgresServer(Server):
    """PostgreSQL with one superuser `tq` and one database of that name, no passwords.

    fsync: off, a commit outlives the server's death and not the machine's; many small databases are made faster then.
    """

    name = "postgres"

    def __init__(self, *, fsync: bool = True) -> None:
        self._fsync = fsync
        super().__init__()

    @property
    def url(self) -> str:
        return f"postgresql://tq@127.0.0.1:{self.port}/tq"

    def stop(self) -> None:
        # An immediate shutdown: it would wait for whoever is connected, and write back what is removed with its directory.
        self._process.send(signal.SIGQUIT)
        super().stop()

    def _command(self) -> Sequence[str]:
        data = self.directory / "data"
        if not data.exists():
            self._make(data)
        return (
            *unprivileged(),
            binary("postgres"),
            *("-D", str(data), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.directory)),
            *("-c", f"fsync={'on' if self._fsync else 'off'}"),
        )

    def _make(self, data: Path) -> None:
        """initdb, and the database, in the only way that needs no server: one user at a time."""
        if os.geteuid() == 0:
            shutil.chown(self.directory, POSTGRES_USER, POSTGRES_USER)
        log = self.directory / "initdb.log"
        log.touch()
        make = (
            *unprivileged(),
            binary("initdb"),
            *("-D", str(data), "-U", "tq", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"),
        )
        single = (*unprivileged(), binary("postgres"), "--single", "-D", str(data), "postgres")
        (self.directory / "create.sql").write_text("CREATE DATABASE tq\n")
        for command in (make, ("sh", "-c", 'exec "$@" < "$0"', str(self.directory / "create.sql"), *single)):
            with Process(command, log_path=log) as process:
                if process.wait(READY_SECONDS_MAX):
                    raise ProcessFailed(f"postgres was not set up\n{process.log_tail()}")

    def _answers(self) -> bool:
        # An SSLRequest is answered with one letter by a server that takes connections; while it recovers too,
        # so what comes next is a start-up packet, which is refused until then.
        packet = b"\x00\x03\x00\x00user\x00tq\x00database\x00tq\x00\x00"
        return said(self.port, (len(packet) + 4).to_bytes(4, "big") + packet).startswith(b"R")


POSTGRES_USER = "postgres"
"""Made by Debian's package; PostgreSQL refuses to run as root."""


def unprivileged() -> tuple[str, ...]:
    """What stands before a command that must not run as root."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={POSTGRES_USER}", f"--regid={POSTGRES_USER}", "--clear-groups", "--")


def binary(name: str) -> str:
    """A server's program. Debian keeps some where no PATH leads; its wrappers insist on the system's own instance."""
    for pattern in ("usr/lib/postgresql/*/bin", "usr/lib/rabbitmq/bin"):
        found = sorted(Path("/").glob(f"{pattern}/{name}"))
        if found:
            return str(found[-1])
    path = shutil.which(name)
    if path is None:
        raise ProcessFailed(f"{name} is not installed; `make servers` installs it")
    return path


def said(port: int, question: bytes) -> bytes:
    """The first bytes a server answers with; empty when it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(64)
    except OSError:
        return b""
