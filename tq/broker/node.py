"""The composition root: one broker process, its parts put together in boot order and taken apart in reverse.

    data directory -> store -> journal -> disk thread -> log -> doors made -> backend recovers -> doors open

Doors are made before the backend starts and so are closed after it has stopped: the answers of its last entry, and
those to everybody who still waits, leave through them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

from tq.broker.admission import Admission, Limits
from tq.broker.api.grpc.door import GrpcDoor
from tq.broker.api.rest.app import Parts
from tq.broker.api.rest.door import RestDoor
from tq.broker.api.stackduck.servicer import StackDuck
from tq.broker.api.tcp import TcpDoor
from tq.broker.engine.backend import EngineSettings, NativeBackend
from tq.broker.feed import EVENTS_MAX, Feed
from tq.broker.lifecycle import Fatal, opening
from tq.broker.metrics.exporter import Exporter
from tq.broker.observe import Observer
from tq.broker.replication.cluster import ClusterMember, Hooks, Place
from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.replication.raft import RaftLog
from tq.broker.replication.records import Link
from tq.broker.replication.snapshot import finish_install
from tq.broker.security import Security
from tq.broker.service import STOPPING_RETRY_MS, Service
from tq.broker.storage.data_dir import DataDir, locked
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.rocks import RocksStore
from tq.broker.tls import TlsContext
from tq.clock import Clock
from tq.config import BrokerConfig
from tq.errors import BrokerUnavailable
from tq.exposition import MetricsDoor
from tq.ids import new_id
from tq.logs import get_logger
from tq.verbs import Draining, Push

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


class Door(Protocol):
    """A door beside the TCP one: REST, gRPC."""

    async def open(self, host: str, port: int, tls: TlsContext | None) -> tuple[str, int]:
        """Listen; the address taken. Raises OSError."""
        ...

    def stop_accepting(self) -> None: ...

    def announce(self, push: Push) -> None: ...

    async def close(self, grace_ms: int) -> None:
        """Answer what is under way within grace_ms, cut the rest. Called twice, and without `open`, too."""
        ...


class Opening(NamedTuple):
    """A door and where it is to listen. name: in `addresses`."""

    name: str
    door: Door
    port: int


class Node:
    """One broker. `start`, then `stop`; both once, on the running event loop."""

    def __init__(self, config: BrokerConfig, clock: Clock, fatal: Fatal, *, tls: TlsContext | None) -> None:
        self._config = config
        self._clock = clock
        self._fatal = fatal
        self._security = Security(config, clock, tls)
        self._stack = AsyncExitStack()
        self._hurry = asyncio.Event()
        self._door: TcpDoor | None = None
        self._others: list[Opening] = []
        self._service: Service | None = None
        self._backend: NativeBackend | None = None
        self._member: ClusterMember | None = None
        self._client_address = ""
        self._feed = Feed(EVENTS_MAX, first_seq=clock.now_ms() * 1000)

    async def start(self) -> dict[str, str]:
        """Recover what the data directory holds and open the doors.

        Returns the addresses, door -> host:port. Raises CannotStart; then nothing is left open.
        """
        async with AsyncExitStack() as stack:
            backend, log = await self._open_backend(stack)
            admission = Admission(limits_of(self._config))
            observer = Observer()
            node_id = self._config.raft.node_id
            exporter = Exporter(backend.measures, log.measures, observer, node_id=node_id)
            security = self._security
            stack.callback(security.close)
            service = Service(backend, security.access, admission, observer, self._fatal, security.rates)
            door = TcpDoor(service, admission, observer, self._clock, node_id=self._config.raft.node_id)
            stack.push_async_callback(self._close_doors, door)
            self._others = self._make_others(service, admission, observer, exporter)
            for other in self._others:
                stack.push_async_callback(self._close_other, other.door)
            stack.push_async_callback(backend.stop)
            stack.callback(service.close)
            with opening(f"the data in {self._config.persistence.data_dir}"):
                await backend.start()
            _tune_collector()
            self._allow_files()
            addresses = {"tcp": await self._open_door(door)}
            for other in self._others:
                addresses[other.name] = await self._open_other(other)
            await self._open_metrics(stack, exporter, addresses)
            await self._open_raft(addresses)
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
            "tls": self._security.tls is not None,
            "keys": self._config.auth.enabled,
        }

    async def reload(self, config: BrokerConfig) -> None:
        """Take keys and certificates from here; who came with a key that is no more has to go.

        Raises ConfigProblems; then nothing has changed.
        """
        assert self._door is not None
        await self._security.reload(config)
        self._door.expel_strangers()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let go of everything in reverse order.

        hurry: whenever it is set, peers are not waited for any longer. A stop that takes longer than STOP_S_MAX
        ends the process: what was acknowledged is on the disk, and a supervisor's SIGKILL would come next.
        """
        assert self._door is not None
        assert self._service is not None
        self._hurry = hurry
        overdue = asyncio.get_running_loop().call_later(STOP_S_MAX, self._fatal, _overdue())
        if self._member is not None:
            await self._unless_hurried(self._member.hand_over())
        doors: list[TcpDoor | Door] = [self._door, *(other.door for other in self._others)]
        for door in doors:
            door.stop_accepting()
        self._service.drain()
        for door in doors:
            door.announce(Draining(STOPPING_RETRY_MS, "the broker is stopping"))
        await self._unless_hurried(self._door.answered(DRAIN_MS))
        await self._stack.aclose()
        overdue.cancel()

    async def _close_doors(self, door: TcpDoor) -> None:
        """Runs after the backend has stopped, or after a start that failed."""
        door.say_goodbye(BrokerUnavailable("the broker stopped", retry_after_ms=STOPPING_RETRY_MS))
        await self._unless_hurried(door.emptied(GOODBYE_MS))
        await door.cut()

    async def _close_other(self, door: Door) -> None:
        await self._unless_hurried(door.close(GOODBYE_MS))
        await door.close(0)

    async def _unless_hurried(self, wait: Coroutine[None, None, object]) -> None:
        waits = [asyncio.ensure_future(wait), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _open_backend(self, stack: AsyncExitStack) -> tuple[NativeBackend, LocalLog | RaftLog]:
        """Everything below the service; what is opened is closed by the stack."""
        persistence = self._config.persistence
        path = Path(persistence.data_dir)
        with opening(f"the data directory {path}"):
            installed = _finish_install(path) if self._config.raft.enabled else None
            directory = DataDir.open(path, self._clock)
        stack.callback(directory.close)
        with opening(f"the store in {path}"):
            store = RocksStore.open(directory.store_path, create=directory.is_new)
        stack.callback(store.close)
        with opening(f"the journal in {path}"):
            journal = Journal.open(
                directory.journal_path, create=directory.is_new, elapsed_ns=self._clock.monotonic_ns
            )
        stack.callback(journal.close)
        with opening(f"the data directory {path}"):
            directory.mark_used()
        loop = asyncio.get_running_loop()
        disk = DiskThread(loop, self._fatal)
        disk.start()
        stack.push_async_callback(disk.stop)
        relaxed_ms = RELAXED_SYNC_MS if persistence.durability == "relaxed" else None
        log: LocalLog | RaftLog = LocalLog(journal, disk, self._fatal, relaxed_ms=relaxed_ms)
        if self._config.raft.enabled:
            place = Place(directory.path, (directory.node_uuid, directory.disk_generation), installed)
            log = self._join(stack, place, journal, disk)
        stack.push_async_callback(log.close)
        settings = settings_of(self._config)
        backend = NativeBackend(store, log, disk, self._clock, loop, settings, self._fatal, self._feed)
        self._backend = backend
        if self._member is not None:
            backend.view_cluster = self._member.view
        return backend, log

    def _join(self, stack: AsyncExitStack, place: Place, journal: Journal, disk: DiskThread) -> RaftLog:
        """The log of a cluster's node. It takes part once `_open_raft` has let the peers in."""
        hooks = Hooks(
            checkpoint=lambda copy, done: self._the_backend().checkpoint(copy, done),
            on_lead=lambda leads: self._the_backend().lead(leads),
            client_address=lambda: self._client_address,
            restart=_start_again,
            on_fatal=self._fatal,
        )
        loop = asyncio.get_running_loop()
        with opening("the cluster"):
            member = ClusterMember(self._config.raft, place, journal, disk, loop, self._clock, hooks)
        self._member = member
        # Taken down after the backend has stopped: its last entries need the peers.
        stack.push_async_callback(member.close)
        return member.log

    def _the_backend(self) -> NativeBackend:
        assert self._backend is not None, "the cluster speaks before the backend is made"
        return self._backend

    async def _open_raft(self, addresses: dict[str, str]) -> None:
        """Let the peers in: the last thing at a start, for a leader must be able to serve."""
        member, raft = self._member, self._config.raft
        if member is None:
            return
        host = (raft.advertise or raft.bind).rpartition(":")[0]
        self._client_address = f"{host}:{addresses['tcp'].rpartition(':')[2]}"
        with opening(f"the Raft port {raft.bind}"):
            addresses["raft"] = _address(*await member.open())

    async def _open_door(self, door: TcpDoor) -> str:
        host, port = self._config.broker.host, self._config.broker.port
        with opening(f"the TCP port {_address(host, port)}"):
            tls = self._security.tls
            return _address(*await door.open(host, port, None if tls is None else tls.context))

    def _make_others(
        self, service: Service, admission: Admission, observer: Observer, exporter: Exporter
    ) -> list[Opening]:
        """The doors that the configuration asks for, in the order they open; they close in reverse."""
        api, found = self._config.api, list[Opening]()
        if api.rest_port is not None:
            parts = Parts(service, observer, self._feed, self._clock, new_id, exporter.render_for)
            found.append(Opening("rest", RestDoor(parts, admission), api.rest_port))
        if api.grpc_port is not None or api.stackduck_port is not None:
            # One door on two ports: StackDuck's clients know theirs.
            grpc_door = GrpcDoor(service, admission, observer, self._feed, additions=(StackDuck,))
            ports = (("grpc", api.grpc_port), ("stackduck", api.stackduck_port))
            found += [Opening(name, grpc_door, port) for name, port in ports if port is not None]
        return found

    async def _open_other(self, other: Opening) -> str:
        host = self._config.broker.host
        with opening(f"the {other.name} port {_address(host, other.port)}"):
            return _address(*await other.door.open(host, other.port, self._security.tls))

    async def _open_metrics(
        self, stack: AsyncExitStack, exporter: Exporter, addresses: dict[str, str]
    ) -> None:
        """Metrics at a port of their own, when the configuration asks for one."""
        host, port = self._config.broker.host, self._config.monitoring.prometheus_port
        if port is None:
            return
        metrics = MetricsDoor(exporter.registry)
        with opening(f"the metrics port {_address(host, port)}"):
            addresses["metrics"] = _address(*await metrics.open(host, port))
        stack.callback(metrics.close)

    def _allow_files(self) -> None:
        """Raise this process's limit of open files to what max_connections may take; warn when it is not allowed."""
        doors = 1 + len(self._others)
        needed = doors * self._config.broker.max_connections + FILES_BESIDE_CONNECTIONS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < needed:
            text = (
                f"the system allows {hard} open files and {doors} doors may take {needed}; raise `ulimit -Hn`"
            )
            _log.warning("files_limited", text, allowed=hard, needed=needed)
            needed = hard
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _finish_install(path: Path) -> tuple[Link, bytes] | None:
    """A snapshot that was received before this start takes the place of the store."""
    if not path.exists():
        return None
    with locked(path):
        return finish_install(path)


def _start_again() -> None:
    """As after a crash, in place: what is durable is what counts, and every descriptor closes itself."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


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
