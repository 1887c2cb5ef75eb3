"""The App: where task functions get their names, and the way to a broker for those who send them.

app = App()

@app.task(queue="mail", max_retries=5, timeout=30)
async def send_email(to: str, subject: str) -> str: ...

handle = send_email.send("a@b.c", subject="hi")     # a task, run by `tq-worker mymodule:app`
text = await send_email("a@b.c", subject="hi")      # plain Python, run here
"""

from __future__ import annotations

import inspect
import os
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from tq import ids
from tq.clock import Clock, SystemClock
from tq.errors import BadRequest
from tq.worker.definition import Definition, Kind, define, in_lane_of
from tq.worker.handle import Handle
from tq.worker.middleware import AsyncMiddleware, SyncMiddleware
from tq.worker.options import SubmitOptions, TaskDefaults
from tq.worker.task_function import Prepared, TaskFunction

if TYPE_CHECKING:
    from tq.client.aio import AsyncClient
    from tq.client.sync import Client

P = ParamSpec("P")
R = TypeVar("R")
Middleware = TypeVar("Middleware", bound=AsyncMiddleware | SyncMiddleware)
Hook = TypeVar("Hook", bound=Callable[[], object])
Lifespan = Callable[[], AbstractAsyncContextManager[object]]

DEFAULT_BROKER = "127.0.0.1:6379"


class App:
    """A set of task types, and what surrounds them. Making one connects to nothing and starts nothing."""

    def __init__(
        self,
        broker_addr: str | Sequence[str] | None = None,
        *,
        api_key: str | None = None,
        tls: ssl.SSLContext | bool | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], bytes] = ids.new_id,
    ) -> None:
        """broker_addr: `host:port`, several with commas; None takes TQ_BROKER_ADDR, or 127.0.0.1:6379.
        api_key: None takes TQ_API_KEY. tls: True trusts the system's authorities, None takes TQ_TLS, TQ_TLS_CA and
            their kin.
        clock, new_id: for tests.
        """
        self.clock: Clock = clock or SystemClock()
        self.async_middleware: list[AsyncMiddleware] = []
        self.sync_middleware: list[SyncMiddleware] = []
        self._broker_addr = broker_addr
        self._api_key = api_key
        self._tls = tls
        self._new_id = new_id
        self._definitions: dict[str, Definition] = {}
        self._lifespans: list[Lifespan] = []
        self._start_hooks: list[Callable[[], object]] = []
        self._stop_hooks: list[Callable[[], object]] = []
        self._making = threading.Lock()
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None

    # ------------------------------------------------------------ naming tasks

    @overload
    def task(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskFunction[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> TaskFunction[P, R, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        kind: Kind = "auto",
        aliases: Sequence[str] = (),
        **options: Unpack[TaskDefaults],
    ) -> Decorator: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        kind: Kind = "auto",
        aliases: Sequence[str] = (),
        **options: Unpack[TaskDefaults],
    ) -> Any:
        """Make a function a task, with or without options.

        name: the task type; default module.qualname, where a script run as the program counts by its file's name.
            A name of your own survives moving the function. aliases: older names still to be served.
        kind: async (the handlers' event loop), thread, process (survives crashes, uses a core); auto takes async for
            an `async def` and thread for a `def`.
        timeout: of one attempt, default 300 s. expires: not started within so long, it ends as expired.
        The rest are defaults for `.options(...)`. Raises BadRequest for what cannot be, at once.
        """

        def decorate(decorated: Callable[..., object]) -> object:
            defaults = SubmitOptions(**options)
            definition = define(
                decorated, name=name, kind=kind, is_raw=False, options=defaults, aliases=tuple(aliases)
            )
            self._add(definition)
            return TaskFunction[..., object, object](self, definition)

        return decorate if function is None else decorate(function)

    def handler(
        self,
        task_type: str,
        *,
        kind: Kind = "auto",
        aliases: Sequence[str] = (),
        **options: Unpack[TaskDefaults],
    ) -> Callable[[Callable[[bytes], Any]], TaskFunction[[bytes], Any, bytes]]:
        """Make a function of bytes to bytes the handler of a task type, for payloads that are not Python's arguments.

        options: as for `task`.
        """

        def decorate(function: Callable[[bytes], Any]) -> TaskFunction[[bytes], Any, bytes]:
            definition = define(
                function,
                name=task_type,
                kind=kind,
                is_raw=True,
                options=SubmitOptions(**options),
                aliases=tuple(aliases),
            )
            self._add(definition)
            return TaskFunction(self, definition)

        return decorate

    def _add(self, definition: Definition) -> None:
        for name in (definition.name, *definition.aliases):
            if name in self._definitions:
                raise BadRequest(f"task {name!r} is there already; give one of the two another name=")
            self._definitions[name] = definition

    @property
    def definitions(self) -> list[Definition]:
        """Every task type once, in the order of their decorators."""
        return list(dict.fromkeys(self._definitions.values()))

    def registry(self, kind: Kind = "auto") -> dict[str, Definition]:
        """task type or alias -> Definition. kind: the worker's --kind, for tasks that were declared `auto`.

        A plain function stays in a thread when the worker says async: on the loop it would block the others.
        """
        return {name: in_lane_of(each, kind) for name, each in self._definitions.items()}

    # ------------------------------------------------------------ around handlers

    def middleware(self, layer: Middleware) -> Middleware:
        """Wrap every handler of the same colour, async or plain; see `tq.worker.middleware`. First is outermost."""
        if inspect.iscoroutinefunction(layer) or inspect.iscoroutinefunction(type(layer).__call__):
            self.async_middleware.append(cast("AsyncMiddleware", layer))
        else:
            self.sync_middleware.append(cast("SyncMiddleware", layer))
        return layer

    def on_startup(self, hook: Hook) -> Hook:
        """Call this, async or plain, before the first task; on the handlers' event loop, and in each child process.

        When it raises, the worker does not start. Should a loop be given up because a handler blocks it, the hooks
        run again for its successor.
        """
        self._start_hooks.append(hook)
        return hook

    def on_shutdown(self, hook: Hook) -> Hook:
        """Call this after the last task, where `on_startup` was called; in reverse order. A killed child skips it."""
        self._stop_hooks.append(hook)
        return hook

    def lifespan(self, factory: Lifespan) -> Lifespan:
        """Both at once: an async context manager, entered before the first task and left after the last."""
        self._lifespans.append(factory)
        return factory

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What start-up and shut-down hooks enclose. For the worker; and for a test that calls handlers itself."""
        async with AsyncExitStack() as stack:
            for hook in self._stop_hooks:
                stack.push_async_callback(_call_hook, hook)
            for hook in self._start_hooks:
                await _call_hook(hook)
            for factory in self._lifespans:
                await stack.enter_async_context(factory())
            yield

    # ------------------------------------------------------------ sending

    @property
    def client(self) -> Client:
        """The blocking client of this App; made on first use, safe in any thread."""
        with self._making:
            if self._client is None:
                from tq.client.sync import Client  # not at import: a worker's child never sends

                self._client = Client(self._addresses(), api_key=self._key(), tls=self._context())
            return self._client

    @property
    def async_client(self) -> AsyncClient:
        """The async client of this App; made on first use, good on any event loop."""
        with self._making:
            if self._async_client is None:
                from tq.client.aio import AsyncClient

                self._async_client = AsyncClient(self._addresses(), api_key=self._key(), tls=self._context())
            return self._async_client

    def submit_many(self, calls: Iterable[Prepared[R]]) -> list[Handle[R]]:
        """Submit calls made with `.prepare(...)`, of any functions, in order and in as few requests as they fit.

        Up to 10,000 go all or none; of more, an error says how many were accepted. Raises as `send`.
        """
        prepared = list(calls)
        return self._handles(prepared, self.client.submit_tasks([each.task for each in prepared]))

    async def asubmit_many(self, calls: Iterable[Prepared[R]]) -> list[Handle[R]]:
        """`submit_many` for async code."""
        prepared = list(calls)
        return self._handles(prepared, await self.async_client.submit_tasks([each.task for each in prepared]))

    def handle(self, task_id: str, *, is_raw: bool = False) -> Handle[Any]:
        """The handle of a task submitted elsewhere. is_raw: its result stays bytes."""
        return Handle(self, task_id, is_raw=is_raw)

    def new_id(self) -> str:
        """A fresh task id as UUID text."""
        return ids.to_text(self._new_id())

    def close(self) -> None:
        """Close the blocking client, if there is one. The App can be used again."""
        with self._making:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the async client's connections of this event loop."""
        with self._making:
            client, self._async_client = self._async_client, None
        if client is not None:
            await client.close()

    def _handles(self, prepared: list[Prepared[R]], task_ids: list[str]) -> list[Handle[R]]:
        # The broker's ids and not the prepared ones: a unique key may have given a task that was there already.
        return [
            Handle(self, task_id, is_raw=each.is_raw)
            for each, task_id in zip(prepared, task_ids, strict=True)
        ]

    def _addresses(self) -> str | Sequence[str]:
        return self._broker_addr or os.environ.get("TQ_BROKER_ADDR") or DEFAULT_BROKER

    def _key(self) -> str | None:
        return self._api_key or os.environ.get("TQ_API_KEY") or None

    def _context(self) -> ssl.SSLContext | bool:
        if self._tls is not None:
            return self._tls
        from tq.client.tls import context_of_environment

        return context_of_environment(os.environ) or False


class Decorator(Protocol):
    """What `app.task(...)` with options gives: it keeps the function's parameters and result."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskFunction[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskFunction[P, R, R]: ...


async def _call_hook(hook: Callable[[], object]) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result
