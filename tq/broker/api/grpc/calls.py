"""What every gRPC call goes through: bytes to a message, metadata to a caller, errors to a status.

Rules of the file:
- Messages are parsed here and not by grpc, which would answer bytes that are none with INTERNAL.
- A TqError becomes the status of `status_map` with its code, outcome and advice in trailing metadata. Anything else
  that is raised is a defect: it is logged, and the caller learns no more than INTERNAL.
- Bytes of requests under way count from the moment they are parsed until the call is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from tq.broker.admission import Admission
from tq.broker.api.grpc.call import Asked, Call, CallOver, Handler, TwoWay
from tq.broker.api.recognition import recognise
from tq.broker.api.status_map import status_of
from tq.broker.backend import Peer
from tq.broker.observe import Observer
from tq.broker.service import Caller, Service, Silent
from tq.errors import AuthenticationFailed, BadRequest, BrokerUnavailable, TqError
from tq.logs import get_logger
from tq.protocol.limits import FRAME_BYTES_MAX
from tq.verbs import Push

_log = get_logger("grpc")

MESSAGE_BYTES_MAX = FRAME_BYTES_MAX
"""Longest message the door reads: one task of the largest payload with all its fields, as on the wire of TCP."""
DETAILS_CHARS_MAX = 1_000
"""The text of a status travels in a header, and headers are small."""
OVERLOAD_RETRY_MS = 1_000
"""What a caller is told to wait when the door has no room: for its bytes, its call or its stream."""

Context = Call
M = TypeVar("M", bound=Message)
Unary = Callable[[Context, bytes], Awaitable[Message]]


class Ending(Protocol):
    """Something that lasts and is told when the door closes: a stream, a wait."""

    def end(self, error: TqError) -> None:
        """Come to an end soon, with this error. Calling it twice is allowed."""
        ...


class Unread(Exception):
    """The client does not read, and nothing more can be told to it on this stream."""


class Calls:
    """The part of the door that its services share. All methods run on the event loop."""

    def __init__(self, service: Service, admission: Admission, observer: Observer) -> None:
        self.service = service
        self.limits = admission.limits
        self.observer = observer
        self.silent = Silent()
        self._bytes_in_flight = 0
        self._lasting: dict[Ending, Caller | None] = {}
        self._ended: TqError | None = None

    # ------------------------------------------------------------ who is it

    async def caller(
        self, context: Context, peer: Peer | None = None, headers: Mapping[str, str] | None = None
    ) -> Caller:
        """Who makes this call. peer: who is pushed to; None when nobody can be.

        headers: the call's metadata, if they have been read already. Raises AuthenticationFailed, and
        BrokerUnavailable when too many keys are being checked.
        """
        address = address_of(context)
        token = token_of(headers_of(context) if headers is None else headers)
        who = await recognise(self.service, token, address)
        return Caller(peer or self.silent, who, address)

    # ------------------------------------------------------------ one call

    def unary(self, method: Unary) -> Handler:
        """A handler that answers with what the method returns, or with the error it raises."""

        async def serve(context: Context, data: bytes) -> None:
            self.take(len(data))
            try:
                context.answer((await method(context, data)).SerializeToString())
            except TqError as error:
                self.refuse(context, error)
            except Exception as error:  # noqa: BLE001  the top of a call
                self.confess(context, error)
            finally:
                self.give_back(len(data))

        return Asked(serve)

    def streaming(self, method: Callable[[Context, bytes], Awaitable[None]]) -> Handler:
        """A handler of one request that writes what it has to say to the context."""

        async def serve(context: Context, data: bytes) -> None:
            await self.guard(context, method(context, data))

        return Asked(serve)

    def two_way(self, method: Callable[[Context], Awaitable[None]]) -> Handler:
        """A handler that reads from the context and writes to it."""

        async def serve(context: Context) -> None:
            await self.guard(context, method(context))

        return TwoWay(serve)

    async def guard(self, context: Context, work: Awaitable[None]) -> None:
        """Do it; what it raises becomes the status of the call."""
        try:
            await work
        except Unread as error:
            self.note_unread(context, str(error))
            raise CallOver from error
        except TqError as error:
            self.refuse(context, error)
        except Exception as error:  # noqa: BLE001  the top of a call
            self.confess(context, error)

    async def write(self, context: Context, data: bytes) -> None:
        """Send one message of a stream. Raises Unread when the client takes nothing for `unread_ms`."""
        seconds = self.limits.unread_ms / 1000
        try:
            async with asyncio.timeout(seconds):
                await context.write(data)
        except TimeoutError:
            raise Unread(f"a message of {len(data)} bytes was not read in {seconds:g} s") from None

    def note_unread(self, context: Context, text: str) -> None:
        """A call is cut because its caller does not read."""
        self.observer.rejections[BrokerUnavailable.code] += 1
        _log.warning("stream_cut", text, peer=context.peer())

    def refuse(self, context: Context, error: TqError) -> None:
        """End the call with the status, text and trailing metadata of an error."""
        self.observer.rejections[error.code] += 1
        _log.debug("request_refused", error.text, code=error.code)
        status = grpc.StatusCode[status_of(error).grpc]
        context.end(status, error.text[:DETAILS_CHARS_MAX], trailing_metadata_of(error))

    def confess(self, context: Context, error: Exception) -> None:
        """End the call for a defect of ours: the caller learns no more than that."""
        if isinstance(error, CallOver):
            raise error
        _log.error("call_failed", f"a defect in the gRPC door: {type(error).__name__}", exc_info=error)
        self.refuse(context, TqError("a defect in the broker; its log says more"))

    def take(self, size: int) -> None:
        """So many bytes of a request are under way."""
        self._bytes_in_flight += size

    def give_back(self, size: int) -> None:
        """They are not any more."""
        self._bytes_in_flight -= size

    @property
    def is_full(self) -> bool:
        """Whether all calls together hold as many bytes of requests as they may."""
        return self._bytes_in_flight > self.limits.bytes_in_flight_total_max

    # ------------------------------------------------------------ what lasts

    def hold(self, lasting: Ending, caller: Caller | None) -> None:
        """Tell it when the door closes, or the caller's key is withdrawn. Raises BrokerUnavailable once it closes.

        caller: None for what needs no key.
        """
        if self._ended is not None:
            raise self._ended
        self._lasting[lasting] = caller

    def release(self, lasting: Ending) -> None:
        self._lasting.pop(lasting, None)

    @property
    def lasting_count(self) -> int:
        """Streams and waits that are open."""
        return len(self._lasting)

    def sweep(self) -> None:
        """End what lasts with a key that does not hold any more."""
        for lasting, caller in list(self._lasting.items()):
            if caller is not None and not self.service.knows(caller):
                name = caller.principal.name
                lasting.end(
                    AuthenticationFailed(
                        f"the key {name!r} was withdrawn or changed; call again with another"
                    )
                )

    def announce(self, push: Push) -> None:
        """Push to whatever lasts and can be pushed to."""
        for caller in list(self._lasting.values()):
            if caller is not None:
                caller.peer.push(push)

    def end_all(self, error: TqError) -> None:
        """End whatever lasts, and let nothing more begin that would."""
        self._ended = error
        for lasting in list(self._lasting):
            lasting.end(error)


def parse(kind: type[M], data: bytes, calls: Calls | None = None) -> M:
    """The message in these bytes. Raises BadRequest; with `calls`, BrokerUnavailable when too much is under way."""
    if calls is not None and calls.is_full:
        raise BrokerUnavailable(
            "requests under way take as much memory as they may; try again", retry_after_ms=OVERLOAD_RETRY_MS
        )
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadRequest(f"{len(data)} bytes that are no {kind.DESCRIPTOR.full_name}") from error


def trailing_metadata_of(error: TqError) -> tuple[tuple[str, str], ...]:
    """What a client can act on without reading the text. Values are ASCII, as metadata must be."""
    found = [("tq-code", error.code), ("tq-outcome", str(error.outcome))]
    if error.retry_after_ms:
        # The second is what the retry policies of gRPC's own clients look at.
        found += [
            (name, str(error.retry_after_ms)) for name in ("tq-retry-after-ms", "grpc-retry-pushback-ms")
        ]
    if error.leader:
        found.append(("tq-leader", error.leader))
    return tuple(found)


def headers_of(context: Context) -> dict[str, str]:
    """The call's metadata; names are in lower case. Each look builds them anew, so look once."""
    return {str(name): str(value) for name, value in context.invocation_metadata()}


def token_of(headers: Mapping[str, str]) -> str:
    """The key of `authorization: Bearer KEY`, empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def address_of(context: Context) -> str:
    """The caller's host; grpc names it `ipv4:127.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    peer = context.peer()
    host = peer[peer.find(":") + 1 : peer.rfind(":")]
    return unquote(host).strip("[]") if "%" in host or "[" in host else host
