"""The composition root: one broker process, its parts put together in boot order and taken apart in reverse.

    data directory -> store -> journal -> disk thread -> log -> doors made -> backend recovers -> doors open

Doors are made before the backend starts and so are closed after it has stopped: the answers of its last entry, and
those to everybody who still waits, leave through them.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import ssl
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path

from tq.broker.access import OpenAccess
from tq.broker.admission import Admission, Limits
from tq.broker.api.tcp import TcpDoor
from tq.broker.engine.backend import EngineSettings, NativeBackend
from tq.broker.lifecycle import Fatal, opening
from tq.broker.observe import Observer
from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.service import STOPPING_RETRY_MS, Service
from tq.broker.storage.data_dir import DataDir
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.rocks import RocksStore
from tq.clock import Clock
from tq.config import BrokerConfig
from tq.errors import BrokerUnavailable
from tq.logs import get_logger
from tq.verbs import Draining

_log = get_logger("broker")

FILES_BESIDE_CONNECTIONS = 512
"""Descriptors that RocksDB, the log and the listeners may need."""
DRAIN_MS = 1_500
"""Longest wait for answers under way after a stop was asked for; those who only wait for a task get theirs anyway."""
GOODBYE_MS = 1_500
"""Longest wait for peers to read our goodbye and hang up. With DRAIN_MS, well within the 10 s a stop may take."""
STOP_S_MAX = 9.0
"""Under the 10 s that a stop may take, and that container runtimes give."""
RELAXED_SYNC_MS = 1_000
"""`durability: relaxed` may lose so much, with the machine, not with the process."""
DAY_MS = 24 * 3600 * 1000


class Node:
    """One broker. `start`, then `stop`; both once, on the running event loop."""

    def __init__(
        self, config: BrokerConfig, clock: Clock, fatal: Fatal, *, tls: ssl.SSLContext | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._fatal = fatal
        self._tls = tls
        self._stack = AsyncExitStack()
        self._hurry = asyncio.Event()
        self._door: TcpDoor | None = None
        self._service: Service | None = None

    async def start(self) -> dict[str, str]:
        """Recover what the data directory holds and open the doors.

        Returns the addresses, door -> host:port. Raises CannotStart; then nothing is left open.
        """
        async with AsyncExitStack() as stack:
            backend = await self._open_backend(stack)
            admission = Admission(limits_of(self._config))
            observer = Observer()
            service = Service(backend, OpenAccess(), admission, observer, self._fatal)
            door = TcpDoor(service, admission, observer, self._clock, node_id=self._config.raft.node_id)
            stack.push_async_callback(self._close_doors, door)
            stack.push_async_callback(backend.stop)
            stack.callback(service.close)
            with opening(f"the data in {self._config.persistence.data_dir}"):
                await backend.start()
            _tune_collector()
            self._allow_files()
            addresses = {"tcp": await self._open_door(door)}
            self._door, self._service = door, service
            self._stack = stack.pop_all()
        return addresses

    @property
    def facts(self) -> dict[str, object]:
        """What an operator wants to see beside `ready`, as log fields."""
        persistence = self._config.persistence
        return {
            "node_id": self._config.raft.node_id,
            "data_dir": persistence.data_dir,
            "durability": persistence.durability,
            "tls": self._tls is not None,
        }

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let go of everything in reverse order.

        hurry: whenever it is set, peers are not waited for any longer. A stop that takes longer than STOP_S_MAX
        ends the process: what was acknowledged is on the disk, and a supervisor's SIGKILL would come next.
        """
        assert self._door is not None
        assert self._service is not None
        self._hurry = hurry
        overdue = asyncio.get_running_loop().call_later(STOP_S_MAX, self._fatal, _overdue())
        self._door.stop_accepting()
        self._service.drain()
        self._door.announce(Draining(STOPPING_RETRY_MS, "the broker is stopping"))
        await self._unless_hurried(self._door.answered(DRAIN_MS))
        await self._stack.aclose()
        overdue.cancel()

    async def _close_doors(self, door: TcpDoor) -> None:
        """Runs after the backend has stopped, or after a start that failed."""
        door.say_goodbye(BrokerUnavailable("the broker stopped", retry_after_ms=STOPPING_RETRY_MS))
        await self._unless_hurried(door.emptied(GOODBYE_MS))
        await door.cut()

    async def _unless_hurried(self, wait: Coroutine[None, None, bool]) -> None:
        waits = [asyncio.ensure_future(wait), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _open_backend(self, stack: AsyncExitStack) -> NativeBackend:
        """Everything below the service; what is opened is closed by the stack."""
        persistence = self._config.persistence
        path = Path(persistence.data_dir)
        with opening(f"the data directory {path}"):
            directory = DataDir.open(path, self._clock)
        stack.callback(directory.close)
        with opening(f"the store in {path}"):
            store = RocksStore.open(directory.store_path, create=directory.is_new)
        stack.callback(store.close)
        with opening(f"the journal in {path}"):
            journal = Journal.open(directory.journal_path, create=directory.is_new)
        stack.callback(journal.close)
        with opening(f"the data directory {path}"):
            directory.mark_used()
        loop = asyncio.get_running_loop()
        disk = DiskThread(loop, self._fatal)
        disk.start()
        stack.push_async_callback(disk.stop)
        relaxed_ms = RELAXED_SYNC_MS if persistence.durability == "relaxed" else None
        log = LocalLog(journal, disk, self._fatal, relaxed_ms=relaxed_ms)
        stack.push_async_callback(log.close)
        return NativeBackend(store, log, disk, self._clock, loop, settings_of(self._config), self._fatal)

    async def _open_door(self, door: TcpDoor) -> str:
        host, port = self._config.broker.host, self._config.broker.port
        with opening(f"the TCP port {_address(host, port)}"):
            return _address(*await door.open(host, port, self._tls))

    def _allow_files(self) -> None:
        """Raise this process's limit of open files to what max_connections may take; warn when it is not allowed."""
        needed = self._config.broker.max_connections + FILES_BESIDE_CONNECTIONS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < needed:
            text = f"the system allows {hard} open files and max_connections may take {needed}; raise `ulimit -Hn`"
            _log.warning("files_limited", text, allowed=hard, needed=needed)
            needed = hard
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def limits_of(config: BrokerConfig) -> Limits:
    """The admission limits that the configuration asks for; the rest as in `admission`."""
    broker = config.broker
    return Limits(
        queue_depth_max=broker.queue_depth_threshold,
        connections_max=broker.max_connections,
        handshake_ms=int(broker.handshake_timeout_seconds * 1000),
        idle_ms=int(broker.idle_timeout_seconds * 1000),
        bytes_in_flight_max=broker.bytes_in_flight_per_connection,
        out_max_bytes=broker.bytes_in_flight_per_connection,
    )


def settings_of(config: BrokerConfig) -> EngineSettings:
    """What the engine needs to know of the configuration."""
    persistence = config.persistence
    return EngineSettings(
        grace_ms=int(config.broker.session_grace_seconds * 1000),
        retention_ms=int(persistence.completed_task_retention_days * DAY_MS),
        dead_letter_retention_ms=int(persistence.dead_letter_retention_days * DAY_MS),
        wal_sync_interval_ms=persistence.wal_sync_interval_ms,
        durability=persistence.durability,
        node_id=config.raft.node_id,
    )


def _overdue() -> TimeoutError:
    return TimeoutError(f"the disk did not let it stop within {STOP_S_MAX} s")


def _tune_collector() -> None:
    """Keep the cyclic collector away from the tasks.

    A full collection walks every container there is: with a million waiting tasks that is a pause of a good part of
    a second, and it would find nothing, because heads of tasks hold no cycles. Frozen objects are never walked.
    The higher thresholds make young collections rarer by the same measure as we make objects faster than most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
