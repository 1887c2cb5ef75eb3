"""The three ways to use the client, behind one blocking surface, so that one test says the same of all of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import uvloop

from tq.client.aio import AsyncClient
from tq.client.sync import Client

FLAVOURS = ("threads", "asyncio", "uvloop")


class Driven:
    """`Driven("uvloop", address).submit_task(...)`: an async client's methods run on a loop of this object's own."""

    def __init__(self, flavour: str, *args: Any, **options: Any) -> None:
        self._runner: asyncio.Runner | None = None
        if flavour == "threads":
            self.client: Client | AsyncClient = Client(*args, **options)
        else:
            self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if flavour == "uvloop" else None)
            self.client = AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)
        runner = self._runner
        if runner is None:
            return method  # type: ignore[no-any-return]

        def call(*args: Any, **options: Any) -> Any:
            async def run() -> Any:
                answer = method(*args, **options)
                return await answer if inspect.isawaitable(answer) else answer

            return runner.run(run())

        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._runner is not None:
            self._runner.close()
