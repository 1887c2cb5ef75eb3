"""The composition root: one broker process, its parts put together in boot order and taken apart in reverse.

    data directory -> store -> journal -> disk thread -> log -> doors made -> backend recovers -> doors open

Doors are made before the backend starts and so are closed after it has stopped: the answers of its last entry, and
those to everybody who still waits, leave through them.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol

from tq.broker.access import OpenAccess
from tq.broker.admission import Admission, Limits
from tq.broker.api.grpc.door import GrpcDoor
from tq.broker.api.rest.app import Parts
from tq.broker.api.rest.door import RestDoor
from tq.broker.api.scrapes import ScrapeGate
from tq.broker.api.stackduck.servicer import StackDuck
from tq.broker.api.tcp import TcpDoor
from tq.broker.backend import Backend
from tq.broker.feed import EVENTS_MAX, Feed
from tq.broker.foundation import Base, Foundation, lay, rebuild_if_damaged
from tq.broker.lifecycle import CannotStart, Fatal, opening
from tq.broker.metrics.exporter import Exporter
from tq.broker.observe import Observer
from tq.broker.replication.cluster import ClusterMember
from tq.broker.security import Security
from tq.broker.service import STOPPING_RETRY_MS, Service
from tq.broker.tls import TlsContext
from tq.clock import Clock
from tq.config import BrokerConfig
from tq.errors import BrokerUnavailable
from tq.exposition import MetricsDoor
from tq.ids import new_id
from tq.logs import get_logger
from tq.verbs import Draining, Push

_log = get_logger("broker")

IDLERS_MAX = 10_000
"""Idle connections that keep nobody out of a gRPC port, if the system allows so many files: 150 MB at the most."""
FILES_BESIDE_CONNECTIONS = 512
"""Descriptors that RocksDB, the log and the listeners may need."""
DRAIN_MS = 1_500
"""Longest wait for answers under way after a stop was asked for; those who only wait for a task get theirs anyway."""
GOODBYE_MS = 1_500
"""Longest wait for peers to read our goodbye and hang up. With DRAIN_MS, well within the 10 s a stop may take."""
STOP_S_MAX = 9.0
"""Under the 10 s that a stop may take, and that container runtimes give."""


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
        self._services_open: list[Service] = []
        self._member: ClusterMember | None = None
        self._client_address = ""
        self._feed = Feed(EVENTS_MAX, first_seq=clock.now_ms() * 1000)

    async def start(self) -> dict[str, str]:
        """Recover what the data directory holds and open the doors.

        Returns the addresses, door -> host:port. Raises CannotStart; then nothing is left open.
        """
        try:
            return await self._start()
        except CannotStart as error:
            rebuild_if_damaged(self._config, self._clock, error)
            raise

    async def _start(self) -> dict[str, str]:
        async with AsyncExitStack() as stack:
            base = Base(self._config, self._clock, self._fatal, self._feed, lambda: self._client_address)
            foundation = await lay(base, stack)
            self._member = foundation.member
            native, log = foundation.native, foundation.log
            admission = Admission(replace(limits_of(self._config), idlers_max=self._allow_files()))
            observer = Observer()
            node_id = self._config.raft.node_id
            exporter = Exporter(
                *(native.measures, log.measures, observer), node_id=node_id, stores=foundation.stores
            )
            security = self._security
            stack.callback(security.close)
            service, elsewhere = self._services(foundation, admission, observer)
            door = TcpDoor(service, admission, observer, self._clock, node_id=self._config.raft.node_id)
            stack.push_async_callback(self._close_doors, door)
            self._others = self._make_others(elsewhere, admission, observer, exporter)
            services = [service, elsewhere, *self._make_visits(stack, foundation)]
            for other in self._others:
                stack.push_async_callback(self._close_other, other.door)
            stack.push_async_callback(foundation.anywhere.stop)
            for each in services:
                stack.callback(each.close)
            with opening(f"the data in {self._config.persistence.data_dir}"), _collector_off():
                await foundation.anywhere.start()
            _tune_collector()
            addresses = {"tcp": await self._open_door(door)}
            for other in self._others:
                addresses[other.name] = await self._open_other(other)
            metrics = MetricsDoor(exporter.registry, ScrapeGate(service, observer))
            await self._open_metrics(stack, metrics, addresses)
            await self._open_raft(addresses)
            self._door, self._services_open = door, services
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
        self._hurry = hurry
        overdue = asyncio.get_running_loop().call_later(STOP_S_MAX, self._fatal, _overdue())
        if self._member is not None:
            await self._unless_hurried(self._member.hand_over())
        doors: list[TcpDoor | Door] = [self._door, *(other.door for other in self._others)]
        for door in doors:
            door.stop_accepting()
        for service in self._services_open:
            service.drain()
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

    def _services(
        self, foundation: Foundation, admission: Admission, observer: Observer
    ) -> tuple[Service, Service]:
        """For clients that follow the leader by themselves, and for those that any node must serve."""
        security = self._security

        def over(backend: Backend) -> Service:
            return Service(backend, security.access, admission, observer, self._fatal, security.rates)

        service = over(foundation.backend)
        is_one = foundation.anywhere is foundation.backend
        return service, service if is_one else over(foundation.anywhere)

    def _make_visits(self, stack: AsyncExitStack, foundation: Foundation) -> list[Service]:
        """A door without a port, for the other nodes: they recognised and limited their callers themselves."""
        member = foundation.member
        if member is None:
            return []
        admission, observer = Admission(limits_of(self._config)), Observer()
        service = Service(foundation.backend, OpenAccess(), admission, observer, self._fatal)
        door = TcpDoor(service, admission, observer, self._clock, node_id=member.node_id)
        stack.push_async_callback(self._close_doors, door)
        member.transport.on_visit = lambda peer: door.join()
        return [service]

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
            node_id = self._config.raft.node_id
            parts = Parts(
                service, observer, self._feed, self._clock, new_id, exporter.render_for, node_id=node_id
            )
            found.append(Opening("rest", RestDoor(parts, admission), api.rest_port))
        if api.grpc_port is not None or api.stackduck_port is not None:
            # One door on two ports: StackDuck's clients know theirs.
            grpc_door = GrpcDoor(
                service, admission, observer, self._feed, additions=(StackDuck,), clock=self._clock
            )
            ports = (("grpc", api.grpc_port), ("stackduck", api.stackduck_port))
            found += [Opening(name, grpc_door, port) for name, port in ports if port is not None]
        return found

    async def _open_other(self, other: Opening) -> str:
        host = self._config.broker.host
        with opening(f"the {other.name} port {_address(host, other.port)}"):
            return _address(*await other.door.open(host, other.port, self._security.tls))

    async def _open_metrics(
        self, stack: AsyncExitStack, metrics: MetricsDoor, addresses: dict[str, str]
    ) -> None:
        """Metrics at a port of their own, when the configuration asks for one."""
        host, port = self._config.broker.host, self._config.monitoring.prometheus_port
        if port is None:
            return
        with opening(f"the metrics port {_address(host, port)}"):
            tls = self._security.tls
            addresses["metrics"] = _address(
                *await metrics.open(host, port, None if tls is None else tls.context)
            )
        stack.callback(metrics.close)

    def _allow_files(self) -> int:
        """Raise this process's limit of open files to what connections may take; warn when it is not allowed.

        Returns how many connections beyond max_connections a gRPC port may hold.
        """
        api = self._config.api
        grpc_ports = sum(port is not None for port in (api.grpc_port, api.stackduck_port))
        doors = 1 + (api.rest_port is not None) + grpc_ports
        needed = doors * self._config.broker.max_connections + FILES_BESIDE_CONNECTIONS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < needed:
            text = (
                f"the system allows {hard} open files and {doors} doors may take {needed}; raise `ulimit -Hn`"
            )
            _log.warning("files_limited", text, allowed=hard, needed=needed)
            needed = hard
        idlers = IDLERS_MAX
        if hard != resource.RLIM_INFINITY:
            idlers = min(idlers, (hard - needed) // max(1, grpc_ports))
        wanted = needed + grpc_ports * idlers
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return idlers


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


def _overdue() -> TimeoutError:
    return TimeoutError(f"the disk did not let it stop within {STOP_S_MAX} s")


@contextmanager
def _collector_off() -> Iterator[None]:
    """While tasks are read only containers that stay are made: walking them took a seventh of a start with 300,000."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _tune_collector() -> None:
    """Keep the cyclic collector away from the tasks.

    A full collection walks every container there is: with a million waiting tasks that is a pause of a good part of
    a second, and it would find nothing, because heads of tasks hold no cycles. Frozen objects are never walked.
    The higher thresholds make young collections rarer by the same measure as we make objects faster than most; the
    middle one keeps what is walked at once small: with 20 in its place a million submits ended in a pause of 236 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 2, 1_000)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
