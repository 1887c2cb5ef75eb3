"""The gRPC door: its ports on the broker's own loop, with their limits, their TLS and their end.

Rules of the file:
- grpc does the network on threads of its own and hands every event to the loop; all of our code runs there.
- `stop_accepting` takes the broker out of rotation (health says NOT_SERVING, workers are told); `close` ends what
  lasts with a reason and gives calls under way their time.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from tq.broker.admission import Admission, Limits
from tq.broker.api.grpc.call import Handler
from tq.broker.api.grpc.calls import MESSAGE_BYTES_MAX, Calls
from tq.broker.api.grpc.events import Events
from tq.broker.api.grpc.health import Health
from tq.broker.api.grpc.reflection import Reflection
from tq.broker.api.grpc.server import Server
from tq.broker.api.grpc.strangers import Strangers
from tq.broker.api.grpc.task_queue import TaskQueue
from tq.broker.api.grpc.updates import Updates
from tq.broker.api.grpc.work import Work
from tq.broker.api.sweeper import Sweeper
from tq.broker.feed import Feed
from tq.broker.observe import Observer
from tq.broker.service import Service
from tq.broker.tls import TlsContext
from tq.clock import Clock, SystemClock
from tq.errors import BrokerUnavailable
from tq.ids import new_id
from tq.proto import taskqueue_pb2
from tq.protocol.limits import PEER_FRAME_BYTES_MAX
from tq.verbs import Push

SERVICE = taskqueue_pb2.DESCRIPTOR.services_by_name["TaskQueue"].full_name
CALLS_MAX = 10_000
"""Calls and streams at a time; one more is answered RESOURCE_EXHAUSTED. Each costs a task of the loop."""
STREAMS_PER_CONNECTION_MAX = 1_000
"""Calls at a time on one connection; more wait on the client's side."""
HEADERS_BYTES_MAX = 16 * 1024
"""Room for a signed token; grpc's own answer to more is RESOURCE_EXHAUSTED."""
KEEPALIVE_MS = 30_000
"""A peer that was silent for so long is pinged, so that a worker whose machine is gone does not keep its tasks ..."""
KEEPALIVE_WAIT_MS = 10_000
"""... and when it does not answer in this time its connection is cut."""
PINGS_MS_MIN = 10_000
"""A client that pings more often than this without need is told to calm down and cut: each ping costs us a write."""


class Addition(Protocol):
    """One more service on the same port."""

    name: str

    def handlers(self) -> dict[str, Handler]:
        """method name -> handler"""
        ...

    def stop(self) -> None:
        """The door closes: take nothing more in, give back what is held. On the loop, while verbs are still taken."""
        ...


class GrpcDoor:
    """Every gRPC connection of a broker. All methods run on the event loop."""

    def __init__(
        self,
        service: Service,
        admission: Admission,
        observer: Observer,
        feed: Feed,
        *,
        additions: Sequence[Callable[[Calls], Addition]] = (),
        new_id: Callable[[], bytes] = new_id,
        clock: Clock | None = None,
    ) -> None:
        """additions: make the further services. new_id: makes the ids of tasks that come without one.

        clock: what callers' deadlines are read by; None = the system's.
        """
        self._clock = clock or SystemClock()
        self._calls = calls = Calls(service, admission, observer)
        self._additions = tuple(make(calls) for make in additions)
        task_queue = (TaskQueue(calls, new_id=new_id), Updates(calls, feed), Work(calls))
        services = {
            SERVICE: {name: each for part in task_queue for name, each in part.handlers().items()},
            **{addition.name: addition.handlers() for addition in self._additions},
        }
        self._names = ("", *services)
        strangers = Strangers(calls)
        self._health = Health(calls, strangers)
        described = Reflection(calls, strangers, (*services, self._health.name))
        self._services = services | {each.name: each.handlers() for each in (self._health, described)}
        self._events: Events | None = None
        self._servers: list[Server] = []
        self._sweeper: Sweeper | None = None

    async def open(self, host: str, port: int, tls: TlsContext | None = None) -> tuple[str, int]:
        """Listen, and return the address taken: port 0 lets the system choose. Raises OSError.

        May be called again for a further port; every service is on each.
        """
        if self._events is None:
            self._events = Events(asyncio.get_running_loop())
        server = self._make_server(self._events, is_plain=tls is None)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = server.listen(address, None if tls is None else _credentials(tls))
        except RuntimeError as error:
            raise _os_error(host, port) from error
        server.start()
        self._servers.append(server)
        self._health.say(HealthCheckResponse.SERVING, self._names)
        if self._sweeper is None:
            self._sweeper = self._make_sweeper()
            self._sweeper.start()
        return host, bound

    def _make_server(self, events: Events, *, is_plain: bool) -> Server:
        limits = self._calls.limits
        begin_ms = min(limits.preface_ms, limits.handshake_ms) if is_plain else limits.handshake_ms
        server = Server(
            events,
            _options(limits, begin_ms),
            self._calls,
            calls_max=CALLS_MAX,
            now_s=lambda: self._clock.now_ms() / 1000,
        )
        for name, handlers in self._services.items():
            server.serve(name, handlers)
        return server

    @property
    def lasting_count(self) -> int:
        """Streams and waits that are open."""
        return self._calls.lasting_count

    @property
    def calls_count(self) -> int:
        """Calls and streams under way."""
        return sum(server.calls_count for server in self._servers)

    @property
    def unread_bytes(self) -> int:
        """Of large answers that their callers have not read yet."""
        return sum(server.unread_bytes for server in self._servers)

    # ------------------------------------------------------------ closing, in this order

    def stop_accepting(self) -> None:
        """Say NOT_SERVING; those who are connected stay, and their calls are answered as the service says."""
        if self._servers:
            self._health.say(HealthCheckResponse.NOT_SERVING, self._names)
        for addition in self._additions:
            addition.stop()

    def announce(self, push: Push) -> None:
        """Push to every stream of a worker, and end every wait."""
        self._calls.announce(push)

    async def close(self, grace_ms: int) -> None:
        """End the streams, answer the calls under way within grace_ms, cut the rest. Calling it twice is allowed."""
        if self._sweeper is not None:
            self._sweeper.stop()
        self._calls.end_all(BrokerUnavailable("the broker stopped", retry_after_ms=0))
        await asyncio.gather(*(server.stop(grace_ms / 1000) for server in self._servers))
        if self._events is not None:
            events, self._events = self._events, None
            await events.close()

    def _make_sweeper(self) -> Sweeper:
        """Of all calls, by the servers that have them."""
        limits = self._calls.limits
        return Sweeper(
            asyncio.get_running_loop(),
            self._clock.monotonic_ms,
            lambda: self._servers,
            self._calls.sweep,
            limits.idle_ms,
            limits.unread_ms,
        )


def _options(limits: Limits, begin_ms: int) -> list[tuple[str, int]]:
    """begin_ms: how long a connection may take to begin HTTP/2."""
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", PEER_FRAME_BYTES_MAX),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
        # One more is hung up on at once.
        ("grpc.max_allowed_incoming_connections", limits.connections_max + limits.idlers_max),
        ("grpc.max_metadata_size", HEADERS_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", HEADERS_BYTES_MAX),
        # Who sends his preface a byte at a time costs us 24 us for each, until this is over.
        ("grpc.server_handshake_timeout_ms", begin_ms),
        ("grpc.max_connection_idle_ms", limits.idle_ms),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_WAIT_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", PINGS_MS_MIN),
        # Two brokers on one port would each get a part of the connections, and neither would know.
        ("grpc.so_reuseport", 0),
    ]


def _credentials(tls: TlsContext) -> grpc.ServerCredentials:
    """Asked for at every handshake, so that a reload reaches new connections and leaves the others alone."""

    def newest() -> grpc.ServerCertificateConfiguration:
        pems = tls.pems
        return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.client_ca)

    return grpc.dynamic_ssl_server_credentials(
        newest(), newest, require_client_authentication=tls.pems.client_ca is not None
    )


def _os_error(host: str, port: int) -> OSError:
    """grpc says only that it failed; trying it with a socket says why."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error
    return OSError(errno.EADDRINUSE, f"{host}:{port} could not be had")
