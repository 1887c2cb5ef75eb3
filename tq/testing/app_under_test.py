"""What the fixture `tq_app` gives: every App of the test talks to a broker in memory, and tasks run when told to."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from tq import ids
from tq.client.aio import AsyncClient
from tq.client.durations import Duration
from tq.client.info import TaskInfo
from tq.client.link import Link
from tq.client.sync import Client
from tq.clock import Clock
from tq.testing.memory_broker import MemoryBroker
from tq.verbs import Claim, Claimed, Delivery, Deregister, Register, Settle, SettleItem
from tq.version import VERSION
from tq.worker.app import App
from tq.worker.arguments import unpack_arguments, unpack_result
from tq.worker.context import TaskContext
from tq.worker.definition import Definition
from tq.worker.ending import Ending
from tq.worker.invoke import invoke_async, invoke_sync
from tq.worker.task_function import TaskFunction

RUNS_MAX = 10_000
"""Tasks one `drain` runs before it says that there is no end to them."""
PAGE = 1_000

AnyTask = TaskFunction[Any, Any, Any]


class Sent(NamedTuple):
    """One task as the broker has it. result: None until it has completed."""

    task_id: str
    task_type: str
    status: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    result: object
    error: str


class AppUnderTest:
    """Sending goes to a broker in memory; nothing runs before `drain`, and no time passes before `advance`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._apps: dict[int, App] = {}
        self._client: Client | None = None
        self._async_clients: dict[asyncio.AbstractEventLoop, AsyncClient] = {}

    @property
    def address(self) -> str:
        """host:port of the broker, for clients of your own."""
        return self._broker.address

    @property
    def clock(self) -> Clock:
        """The broker's time."""
        return self._broker.clock

    @property
    def client(self) -> Client:
        """A blocking client of the broker."""
        if self._client is None:
            self._client = Client(self.address)
        return self._client

    def serve(self, app: App) -> None:
        """Let `drain` run this App's tasks. Apps that send are found by themselves."""
        self._apps[id(app)] = app

    def client_of(self, app: App) -> Client:
        """Stands in for `App.client`."""
        self.serve(app)
        return self.client

    def async_client_of(self, app: App) -> AsyncClient:
        """Stands in for `App.async_client`: one for each event loop."""
        self.serve(app)
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = AsyncClient(self.address)
        return self._async_clients[loop]

    # ------------------------------------------------------------ time and work

    def advance(self, duration: Duration) -> None:
        """Let time pass at once ("90s", "5m", "2h", seconds or a timedelta): what falls due becomes ready."""
        self._broker.advance(duration)

    def drain(self) -> list[Sent]:
        """Run every task that is ready, and those they send, one after the other; returns those that ran, in order.

        Handlers run here, with their App's middleware and hooks, and their ends are settled as a worker settles
        them. A retry waits for `advance`. Time limits are not kept: time stands still.
        Raises RuntimeError when there is no end to them, or within a running event loop (then `await adrain()`).
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._drain_alone())
        raise RuntimeError("an event loop is running here: use `await tq_app.adrain()`")

    async def adrain(self) -> list[Sent]:
        """`drain` for async tests."""
        async with AsyncExitStack() as stack:
            for app in self._apps.values():
                await stack.enter_async_context(app.running())
            link = await Link.open(self.address, role="worker", name="tq.testing")
            try:
                return await self._run_all(link)
            finally:
                link.close()
                await link.wait_closed()

    # ------------------------------------------------------------ what was sent, what became of it

    def tasks(self, task: AnyTask | str = "", *, status: str = "") -> list[Sent]:
        """What was sent, oldest first; of this task (a function, or a task type), with this status only."""
        name = task if isinstance(task, str) else task.name
        found: list[TaskInfo] = []
        cursor = 0
        while True:
            page = self.client.list_tasks(status=status, task_type=name, limit=PAGE, cursor=cursor)
            found += page.tasks
            cursor = page.next_cursor
            if not cursor:
                break
        return [self._sent(each.task_id) for each in reversed(found)]

    def assert_sent(self, task: AnyTask, /, *args: object, **kwargs: object) -> Sent:
        """The first task of this function sent with these arguments (others may be left out); AssertionError if none."""
        return self._assert_any(task, args, kwargs, status="")

    def assert_done(self, task: AnyTask, /, *args: object, **kwargs: object) -> Sent:
        """The same of those that have completed."""
        return self._assert_any(task, args, kwargs, status="completed")

    def close(self) -> None:
        """Hang up. Async clients on loops that still run are closed by `await aclose()`."""
        if self._client is not None:
            self._client.close()

    async def aclose(self) -> None:
        """Close the async client of the running loop, if it was used."""
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    # ------------------------------------------------------------ inside

    async def _drain_alone(self) -> list[Sent]:
        try:
            return await self.adrain()
        finally:
            await self.aclose()

    async def _run_all(self, link: Link) -> list[Sent]:
        ran: list[Sent] = []
        for _ in range(RUNS_MAX):
            homes = self._homes()
            if not homes:
                return ran
            await link.request(_registration(homes))
            claimed = await link.request(Claim(1))
            assert isinstance(claimed, Claimed)
            if claimed.tasks:
                delivery = claimed.tasks[0]
                ending = await self._invoke(*homes[delivery.task_type], delivery)
                await link.request(Settle((SettleItem(delivery.task_id, delivery.token, *ending),)))
            # Those that tasks sent may be of an App that was not known: register anew, with what there is now.
            await link.request(Deregister())
            if not claimed.tasks:
                return ran
            ran.append(self._sent(ids.to_text(delivery.task_id)))
        raise RuntimeError(f"{RUNS_MAX} tasks have run and there are more: does one send itself?")

    def _homes(self) -> dict[str, tuple[App, Definition]]:
        """task type -> where its handler lives."""
        return {
            name: (app, definition)
            for app in self._apps.values()
            for name, definition in app.registry().items()
        }

    async def _invoke(self, app: App, definition: Definition, delivery: Delivery) -> Ending:
        context = TaskContext(delivery, _Unheard(), self.clock, self.clock.monotonic_ms())
        if definition.is_coroutine:
            # A task of its own, so that what it sets in context variables ends with it.
            return await asyncio.create_task(invoke_async(app, definition, context, delivery.payload))
        return invoke_sync(app, definition, context, delivery.payload)

    def _sent(self, task_id: str) -> Sent:
        info = self.client.get_task(task_id, with_payload=True)
        home = self._homes().get(info.task_type)
        is_raw = home is not None and home[1].is_raw
        payload = info.payload or b""
        args, kwargs = ((payload,), {}) if is_raw else unpack_arguments(payload)
        result = info.result
        return Sent(
            task_id=task_id,
            task_type=info.task_type,
            status=info.status,
            args=tuple(args),
            kwargs=kwargs,
            result=result if is_raw or result is None else unpack_result(result),
            error=info.error,
        )

    def _assert_any(
        self, task: AnyTask, args: tuple[object, ...], kwargs: dict[str, object], *, status: str
    ) -> Sent:
        signature = inspect.signature(task.definition.function)
        wanted = signature.bind_partial(*args, **kwargs).arguments
        all_sent = self.tasks(task)
        for sent in all_sent:
            given = signature.bind(*sent.args, **sent.kwargs)
            given.apply_defaults()
            if (not status or sent.status == status) and wanted.items() <= given.arguments.items():
                return sent
        what = f"no {task.name} {'is ' + status if status else 'was sent'} with {wanted or 'any arguments'}"
        raise AssertionError("\n  ".join([f"{what}; there are:", *map(_line, all_sent)]))


class _Unheard:
    """Where news of running tasks go when nobody watches."""

    def report_progress(self, delivery: Delivery, permille: int, text: str) -> None:
        return

    def request_extension(self, delivery: Delivery, ms: int) -> None:
        return


def _registration(homes: dict[str, tuple[App, Definition]]) -> Register:
    queues = {"default"} | {definition.options.queue for _, definition in homes.values()}
    return Register(
        ids.new_id(), "tq.testing", tuple(sorted(queues)), tuple(sorted(homes)), 0, version=VERSION
    )


def _line(sent: Sent) -> str:
    given = [*map(repr, sent.args), *(f"{name}={value!r}" for name, value in sent.kwargs.items())]
    return f"{sent.task_type}({', '.join(given)}) {sent.status}" + (
        f": {sent.error.splitlines()[0]}" if sent.error else ""
    )
