"""Connections to RabbitMQ: made when they are needed, made again when they were lost, and queues declared on them.

aio-pika opens the connection; channels are used at the level beneath it (aiormq), whose cost per message is half as much.
Errors of either become BrokerUnavailable here, which says that nothing happened, or LostLink, which does not.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aio_pika
from aiormq import exceptions
from aiormq.abc import AbstractConnection
from aiormq.channel import Channel

from tq.client.routing import Rng, back_off_s
from tq.client.rustq.names import Declaration
from tq.errors import BadRequest, BrokerUnavailable
from tq.logs import get_logger

log = get_logger("rustq")

CONNECT_SECONDS = 10.0
RPC_SECONDS = 10.0
"""A RabbitMQ that does not answer a declare for so long is taken for dead."""
CLOSE_SECONDS = 5.0
HEARTBEAT_SECONDS = 10
"""Unless the address says otherwise. The library gives up after three of them."""

_T = TypeVar("_T")
LOST = (exceptions.AMQPError, exceptions.ChannelInvalidStateError, OSError, asyncio.TimeoutError)
"""What the library raises when a channel or its connection is gone, or answers nothing."""


async def answered(call: Awaitable[_T]) -> _T:
    """What the library answers. A call that it cancels itself, because the connection closed, is a lost one."""
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise exceptions.ChannelInvalidStateError("closed while it waited") from None


class LostLink(Exception):
    """The connection was lost with something under way: it may have happened."""


class Link:
    """One connection. Whoever needs a channel opens it; nothing is done in between."""

    def __init__(self, url: str, name: str, rng: Rng, context: ssl.SSLContext | None = None) -> None:
        """url: amqp:// or amqps://. name: what RabbitMQ's lists show. Raises BadRequest."""
        self._url = amqp_url(url)
        self._name = name
        self._rng = rng
        self._context = context
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._opening = asyncio.Lock()
        self._failures = 0

    async def channel(self, *, confirms: bool) -> Channel:
        """A fresh channel, on a fresh connection if there is none. One try. Raises BrokerUnavailable, BadRequest."""
        try:
            async with self._opening, asyncio.timeout(CONNECT_SECONDS):
                connection = await answered(self._connected())
                channel = cast(Channel, await answered(connection.channel(publisher_confirms=confirms)))
        except exceptions.AuthenticationError as error:
            raise BadRequest(f"RabbitMQ does not take the user name or the password: {error}") from error
        except (*LOST, RuntimeError) as error:
            await self.drop()
            raise BrokerUnavailable(f"RabbitMQ cannot be reached: {_said(error)}") from error
        self._failures = 0
        return channel

    async def _connected(self) -> AbstractConnection:
        # aio-pika's own connection does not notice that it is closed; the one beneath it does.
        transport = self._connection.transport if self._connection is not None else None
        if transport is None or transport.connection.is_closed:
            self._connection = await aio_pika.connect(
                self._url,
                client_properties={"connection_name": self._name},
                ssl_context=self._context,
                timeout=CONNECT_SECONDS,
            )
            transport = self._connection.transport
        if transport is None:
            raise exceptions.AMQPConnectionError("closed while it opened")
        return transport.connection

    async def declare(self, *declarations: Declaration) -> list[str]:
        """Make sure the queues are there. Returns for each why it is not as asked for; empty = it is.

        Raises BrokerUnavailable, BadRequest (RabbitMQ forbids it).
        """
        problems: list[str] = []
        channel = await self.channel(confirms=False)
        try:
            for declaration in declarations:
                problem = ""
                try:
                    await _declare(channel, declaration, passive=False)
                except exceptions.ChannelPreconditionFailed as error:
                    # It is there with other arguments, which only its owner can change. It still takes and gives
                    # messages. RabbitMQ closed the channel over it.
                    problem = _said(error)
                    channel = await self.channel(confirms=False)
                    await _declare(channel, declaration, passive=True)
                problems.append(problem)
        finally:
            await close_channel(channel)
        return problems

    async def ready(self, queue: str) -> int:
        """Messages that wait in a queue and are in nobody's hands. Raises BrokerUnavailable."""
        channel = await self.channel(confirms=False)
        try:
            declared = await answered(channel.queue_declare(queue, passive=True, timeout=RPC_SECONDS))
        except LOST as error:
            raise BrokerUnavailable(f"RabbitMQ does not tell of {queue!r}: {_said(error)}") from error
        finally:
            await close_channel(channel)
        return declared.message_count or 0

    def pause_s(self) -> float:
        """How long to wait before the next try, after one that failed."""
        self._failures += 1
        return back_off_s(self._failures - 1, self._rng)

    async def drop(self) -> None:
        """Give the connection up; the next channel makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*LOST, RuntimeError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await answered(connection.close())

    close = drop


async def _declare(channel: Channel, declaration: Declaration, *, passive: bool) -> None:
    try:
        await answered(
            channel.queue_declare(
                declaration.name,
                passive=passive,
                durable=True,
                arguments=dict(declaration.arguments) or None,
                timeout=RPC_SECONDS,
            )
        )
    except exceptions.ChannelPreconditionFailed:
        raise
    except (exceptions.ChannelAccessRefused, exceptions.ChannelLockedResource) as error:
        raise BadRequest(f"RabbitMQ refuses the queue {declaration.name!r}: {_said(error)}") from error
    except LOST as error:
        raise BrokerUnavailable(f"RabbitMQ did not declare {declaration.name!r}: {_said(error)}") from error


async def close_channel(channel: Channel) -> None:
    """Close it, or find that it is gone already."""
    with suppress(*LOST, RuntimeError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await answered(channel.close())


def on_closed(channel: Channel, call: Callable[[str], None]) -> None:
    """Call this once the channel is gone, with the reason."""

    def told(future: asyncio.Future[object]) -> None:
        error = None if future.cancelled() else future.exception()
        call("closed" if error is None else _said(error))

    cast("asyncio.Future[object]", channel.closing).add_done_callback(told)


def amqp_url(url: str) -> str:
    """The address with a heartbeat. Raises BadRequest for another scheme; the text shows no password."""
    parts = urlsplit(url)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise BadRequest(
            f"the RabbitMQ address begins with {parts.scheme!r}; it is amqp://user:password@host:port/"
        )
    query = dict(parse_qsl(parts.query))
    query.setdefault("heartbeat", str(HEARTBEAT_SECONDS))
    return urlunsplit(parts._replace(query=urlencode(query)))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()
