"""One connection to one broker for threads, on a plain socket: no loop and no thread of its own.

How threads share it (leader and followers): whoever waits for an answer and finds nobody at the socket becomes the
leader: it polls, reads, and settles every waiter whose answer came. When its own has come it steps down and wakes
one follower, who leads on. So a single thread does send, poll, recv and nothing else: no switch between threads.

Rules of this file:
- `_held` is the mutex; it guards the exchange, what is queued to go out, and every call on the socket. The socket is non-blocking,
  so nothing waits inside; `poll` runs outside. A method that says *held* wants the mutex held.
- `_is_led` is true while one thread polls for reading. Whoever clears it wakes a follower.
- The descriptor is closed only when nobody polls it: its number could be another socket's by then.
- What interrupts a read or write half-way (KeyboardInterrupt too) ends the connection: its stream is in doubt.
- Nobody reads while nobody waits. `is_usable` therefore looks at the socket, and so notices a broker that hung up.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from types import TracebackType

from tq.client.dial import dial
from tq.client.exchange import Exchange, Vigil
from tq.client.routing import Address, parse_address
from tq.client.thread_wait import POLL_SECONDS_MAX, ThreadWait
from tq.client.tls import explained, hung_up
from tq.errors import BrokerUnavailable, OutcomeUnknown, TqError
from tq.protocol.events import Welcomed
from tq.task import TaskView
from tq.verbs import Ping, Reply, Request

CONNECT_SECONDS = 5.0
"""TCP, TLS and hello together; two lost SYNs fit."""
KEEPALIVE_SECONDS = 10.0
"""While somebody waits: a peer silent for half of it is asked, and for the whole of it taken for dead."""
READ_BYTES = 64 * 1024
"""One recv. Twice as much and the allocator goes to the system for every read."""

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ = select.POLLIN
_READ_WRITE = select.POLLIN | select.POLLOUT


class Link:
    """One open connection. Made by `Link.open`; once lost it stays lost. Thread-safe."""

    def __init__(self, address: Address, sock: socket.socket, keepalive_s: float) -> None:
        """Use `Link.open`. sock: connected."""
        self.address = address
        sock.setblocking(False)
        self._sock = sock
        self._keepalive_s = keepalive_s
        self._exchange = Exchange(str(address))
        self._held = _Held(self)
        self._out: deque[memoryview] = deque()
        self._is_led = False
        self._followers: dict[ThreadWait, None] = {}
        self._pollers = 0
        self._is_retired = False
        self._is_expecting = False
        self._quiet_since = time.monotonic()
        self._pinged_at: float | None = None

    @classmethod
    def open(
        cls,
        address: Address | str,
        *,
        role: str = "client",
        token: str = "",
        name: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = CONNECT_SECONDS,
        keepalive_s: float = KEEPALIVE_SECONDS,
    ) -> Link:
        """Connect and say hello.

        token: the API key. name: what this side calls itself, for people. timeout_s: for TCP, TLS and hello together
        (looking up a host name is the system's and not bounded by it). keepalive_s: a peer silent for so long is dead.
        Raises BrokerUnavailable (could not connect, or the broker has no room), AuthenticationFailed (the key, or
            the broker's certificate), ProtocolError (what listens there is not a tq broker).
        """
        target = parse_address(address) if isinstance(address, str) else address
        deadline = time.monotonic() + timeout_s
        link = cls(target, dial(target, tls, timeout_s), keepalive_s)
        try:
            link._greet(role, token, name, deadline)
        except BaseException:
            link.close()
            raise
        return link

    # ------------------------------------------------------------ asking

    def call(self, request: Request, deadline: float = inf) -> Reply:
        """Send one request and wait for its answer. deadline: on time.monotonic.

        Raises what the broker answered, BrokerUnavailable (not sent), OutcomeUnknown (no answer).
        """
        answer = ThreadWait(deadline)
        with self._held:
            self._exchange.ask(request, answer)
            self._expect()
            self._write()
        return self._wait(answer)

    def watch(self, task_ids: Sequence[bytes], found: dict[bytes, TaskView], deadline: float = inf) -> None:
        """Wait until all these tasks have ended; their views (with results) are put into `found` as they come.

        Raises BrokerUnavailable when the connection ends or the deadline passes first, TaskNotFound.
        """
        answer = ThreadWait(deadline)
        vigil = Vigil(task_ids, found, answer)
        try:
            with self._held:
                self._exchange.watch(vigil)
                self._expect()
                self._write()
            self._wait(answer)
        finally:
            with self._held:
                self._exchange.forget(vigil)

    # ------------------------------------------------------------ state

    @property
    def is_open(self) -> bool:
        return self._exchange.end is None

    @property
    def is_usable(self) -> bool:
        """Open, and the broker has not said that it is stopping. Looks at the socket when nobody else does."""
        exchange = self._exchange
        if exchange.end is None and not self._is_led:
            with self._held:
                if not self._is_led:
                    self._read()
        return exchange.end is None and exchange.draining is None

    @property
    def welcomed(self) -> Welcomed | None:
        """The broker's greeting, with its limits."""
        return self._exchange.welcomed

    def retire(self) -> None:
        """Close as soon as nothing is in flight; watches end then with BrokerUnavailable."""
        with self._held:
            self._is_retired = True
            self._close_if_retired()

    def close(self) -> None:
        """Say goodbye and close. What is unanswered gets OutcomeUnknown. Calling it again does nothing."""
        with self._held:
            self._close()

    def wait_closed(self) -> None:
        """Nothing to wait for: `close` has closed. Here because the asyncio link needs it."""

    def abandon(self) -> None:
        """After a fork, in the child: let go without a word and without the mutex, which a thread that does not
        exist here may hold. The parent's connection goes on."""
        self._sock.close()

    # ------------------------------------------------------------ leader and followers

    def _wait(self, answer: ThreadWait) -> Reply:
        """Lead or follow until the answer is there or its time is up."""
        while answer.value is None:
            is_leader = False
            try:
                with self._held:
                    if answer.value is not None:
                        break
                    is_blocked = bool(self._out)
                    if not self._is_led:
                        is_leader = True
                        self._is_led = True
                    else:
                        answer.follow()
                        self._followers[answer] = None
                if is_leader:
                    self._lead(answer)
                elif is_blocked:
                    self._help_write(answer.deadline)
                else:
                    answer.sleep()
            finally:
                with self._held:
                    self._followers.pop(answer, None)
                    self._is_led = self._is_led and not is_leader
                    self._wake_follower()
            if answer.value is None and answer.deadline <= time.monotonic():
                with self._held:
                    self._exchange.expire(time.monotonic())
        if isinstance(answer.value, TqError):
            raise answer.value
        return answer.value

    def _lead(self, answer: ThreadWait) -> None:
        """Read, and settle whoever's answer comes, until this thread's own has come or its time is up."""
        while answer.value is None:
            now = time.monotonic()
            if now >= answer.deadline:
                return
            with self._held:
                self._keep_alive(now)
                wake_at = min(answer.deadline, self._next_beat(), now + POLL_SECONDS_MAX)
                has_bytes = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0
            if not has_bytes and answer.value is None:
                self._poll(_READ_WRITE if self._out else _READ, wake_at - now)
            with self._held:
                self._write()
                self._read()

    def _help_write(self, deadline: float) -> None:
        """A follower whose bytes did not all leave: the leader may be polling for reading only."""
        self._poll(select.POLLOUT, min(deadline - time.monotonic(), POLL_SECONDS_MAX))
        with self._held:
            self._write()

    def _poll(self, events: int, seconds: float) -> None:
        with self._held:
            if self._exchange.end is not None:
                return
            self._pollers += 1
            poll = select.poll()
            poll.register(self._sock, events)
        try:
            # Rounded up: waking a moment too early would spin until the deadline.
            poll.poll(max(seconds, 0.0) * 1000 + 1)
        finally:
            with self._held:
                self._pollers -= 1
                self._close_socket_if_over()

    def _wake_follower(self) -> None:
        """Held. One follower wakes, if any, and leads when nobody does."""
        if not self._is_led and self._followers:
            next(iter(self._followers)).wake()

    # ------------------------------------------------------------ the socket; all of it held

    def _write(self) -> None:
        """Send what is queued, as much as the socket takes."""
        data = self._exchange.data_to_send()
        if data:
            self._out.append(memoryview(data))
        try:
            while self._out:
                sent = self._sock.send(self._out[0])
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                else:
                    self._out.popleft()
        except _NOT_NOW:
            return
        except OSError as error:
            self._lose(error)

    def _read(self) -> None:
        """Take in what has arrived, at most READ_BYTES."""
        if self._exchange.end is not None:
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except _NOT_NOW:
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            is_new = self._exchange.welcomed is None
            closed = BrokerUnavailable(f"{self.address} closed the connection")
            self._lose(hung_up(self.address) if is_new else closed)
            return
        exchange = self._exchange
        exchange.receive(data)
        self._pinged_at = None
        self._quiet_since = time.monotonic()
        self._is_expecting = exchange.waiting_count > 0
        if exchange.has_answers_to_send:
            self._write()
        if exchange.end is not None:
            self._hang_up()
        self._close_if_retired()

    def _lose(self, error: OSError | TqError) -> None:
        if isinstance(error, TqError):
            self._exchange.lost(error)
        elif self._exchange.welcomed is None:
            self._exchange.lost(explained(self.address, error))
        else:
            self._exchange.lost(BrokerUnavailable(f"connection lost: {error}"))
        self._hang_up()

    def _close(self) -> None:
        self._exchange.close(OutcomeUnknown("this side closed the connection"))
        if self._sock.fileno() >= 0:
            self._write()
            self._hang_up()

    def _close_if_retired(self) -> None:
        if self._is_retired and not self._exchange.waiting_count:
            self._close()

    def _hang_up(self) -> None:
        """Whoever polls wakes up from this."""
        self._out.clear()
        with suppress(OSError):  # it may be down already
            self._sock.shutdown(socket.SHUT_RDWR)
        self._close_socket_if_over()

    def _close_socket_if_over(self) -> None:
        if self._exchange.end is not None and not self._pollers:
            self._sock.close()

    # ------------------------------------------------------------ is the peer alive; all of it held

    def _expect(self) -> None:
        """Something was asked: silence counts from here, unless it lasts already."""
        if not self._is_expecting:
            self._is_expecting = True
            self._quiet_since = time.monotonic()

    def _next_beat(self) -> float:
        return (self._quiet_since if self._pinged_at is None else self._pinged_at) + self._keepalive_s / 2

    def _keep_alive(self, now: float) -> None:
        if now < self._next_beat():
            return
        if self._pinged_at is not None:
            self._lose(BrokerUnavailable(f"{self.address} said nothing for {self._keepalive_s:g} s"))
        elif self._exchange.end is None:
            self._pinged_at = now
            self._exchange.ask(Ping(), ThreadWait(inf))
            self._write()

    # ------------------------------------------------------------ beginning

    def _greet(self, role: str, token: str, name: str, deadline: float) -> None:
        exchange = self._exchange
        with self._held:
            exchange.hello(role=role, token=token, name=name)
            self._write()
        while exchange.welcomed is None and exchange.end is None:
            now = time.monotonic()
            if now >= deadline:
                raise BrokerUnavailable(f"{self.address} did not answer the hello in time")
            self._poll(_READ_WRITE if self._out else _READ, deadline - now)
            with self._held:
                self._write()
                self._read()
        if exchange.end is not None:
            raise exchange.end


class _Held:
    """The link's mutex. Whatever but an error of ours leaves it by exception ends the connection."""

    __slots__ = ("_link", "_mutex")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._mutex = threading.Lock()

    def __enter__(self) -> None:
        self._mutex.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and not isinstance(error, TqError):
                self._link._lose(BrokerUnavailable(f"interrupted: {error!r}"))
        finally:
            self._mutex.release()
