"""The outermost layer: the way past FastAPI for the calls that carry the traffic, and what holds for every call.

FastAPI spends some 200 microseconds on a request before a handler sees it, and more on parameters, on a broker that
needs 100 for the task itself. So the two submit calls, which take nothing but a body and check it themselves, and the
list of tasks are looked up here and called directly. They are routes of the FastAPI application all the same: it
describes them, says what is wrong with their parameters, and would serve them alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from tq.broker.api.rest.errors import (
    ErrorAnswers,
    HttpFault,
    failed,
    foreign_origin,
    no_such_path,
)
from tq.broker.api.rest.gate import rate_headers
from tq.broker.api.rest.site import Site
from tq.broker.service import Service
from tq.errors import BadRequest, TqError
from tq.logs import get_logger

_log = get_logger("rest")

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Shortcut: TypeAlias = Callable[[Request], Awaitable[Response] | None]
"""None = this request is for FastAPI."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Front:
    """ASGI. shortcuts: (method, path) -> shortcut; then the dashboard's files; everything else goes to `app`.

    socket_path: of the one WebSocket.
    """

    def __init__(
        self,
        app: ASGIApp,
        shortcuts: Mapping[tuple[str, str], Shortcut],
        site: Site,
        socket_path: str,
        service: Service,
        answers: ErrorAnswers,
    ) -> None:
        self._app = app
        self._site = site
        self._shortcuts = shortcuts
        self._socket_path = socket_path
        self._service = service
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._open_socket(scope, receive, send)
            return
        is_started = False

        async def send_more(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                message["headers"] = [*message["headers"], _NOSNIFF, *rate_headers(self._service, scope)]
            await send(message)

        try:
            await self._answer(scope, receive, send_more)
        except ClientDisconnect:
            return
        except (TqError, HttpFault) as error:
            await self._answers.response(error)(scope, receive, send_more)
        except Exception as error:  # noqa: BLE001  the top of a request: a defect costs this request, and is told
            _log.error("unexpected", f"{scope['method']} failed: {type(error).__name__}", exc_info=error)
            if not is_started:
                await self._answers.response(failed())(scope, receive, send_more)

    async def _open_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == self._socket_path:
            await self._app(scope, receive, send)
        else:
            answer = self._answers.response(no_such_path(scope["path"]))
            await WebSocket(scope, receive, send).send_denial_response(answer)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in SAFE_METHODS:
            refuse_foreign_origin(Headers(scope=scope))
        shortcut = self._shortcuts.get((method, scope["path"]))
        if shortcut is not None and (answer := shortcut(Request(scope, receive))) is not None:
            response = await answer
            await response(scope, receive, send)
        elif method in ("GET", "HEAD") and (page := self._site.answer(scope["path"], Headers(scope=scope))):
            # What its address asks for is the page's own affair: it tells people what cannot be.
            await page(scope, receive, send)
        else:
            if b"&" in scope["query_string"]:
                refuse_repetition(scope["query_string"])
            # HEAD is served as GET; the server below leaves the body out, because it knows the method.
            await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, send)


def without_query(handler: Handler) -> Shortcut:
    """A shortcut to a call that takes no parameters."""
    return lambda request: None if request.scope["query_string"] else handler(request)


def refuse_repetition(query: bytes) -> None:
    """Raises BadRequest that names each parameter that stands more than once: which of the two was meant?"""
    names = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    twice = [f"{name[:100]}: is given more than once" for name, count in names.items() if count > 1]
    if twice:
        raise BadRequest("; ".join(twice))


def refuse_foreign_origin(headers: Headers) -> None:
    """A browser says which page a request comes from; only pages of this very address may change or overhear anything.

    Raises PermissionDenied. Without keys this is all that stands between a broker on somebody's own machine and
    every page they open. Programs send no Origin.
    """
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise foreign_origin(origin)
