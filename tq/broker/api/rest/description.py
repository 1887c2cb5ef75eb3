"""What the interface says of itself: `/openapi.json`, `/docs`, and which methods a path has."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.responses import Response

from tq.broker.api.rest.docs_page import POLICY, docs_page
from tq.broker.api.rest.openapi import describe

Paths = list[tuple[re.Pattern[str], frozenset[str]]]


class _Made(NamedTuple):
    document: bytes
    page: bytes
    paths: Paths


class Description:
    """Made once, when it is first asked for, on a thread.

    It costs as much as half of a broker's start, which should not wait for it, and any stranger may ask, which
    should not hold the loop.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making: asyncio.Task[_Made] | None = None

    def add_pages(self) -> None:
        """`/openapi.json` and `/docs`; neither is part of what it describes."""

        @self._app.get("/openapi.json", include_in_schema=False)
        async def document() -> Response:
            return Response((await self._made()).document, media_type="application/json")

        @self._app.get("/docs", include_in_schema=False)
        async def docs() -> Response:
            headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": POLICY}
            return Response((await self._made()).page, headers=headers)

    async def methods_of(self, path: str) -> str:
        """As the Allow header has them; of a path that several templates fit, of the most literal one.

        A router knows only the first route that fits.
        """
        found = [methods for pattern, methods in (await self._made()).paths if pattern.fullmatch(path)]
        return ", ".join(sorted(found[0])) if found else ""

    async def _made(self) -> _Made:
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(_make, self._app))
        return await asyncio.shield(self._making)


def _make(app: FastAPI) -> _Made:
    document = describe(app)
    return _Made(json.dumps(document).encode(), docs_page(document), _paths(document["paths"]))


def _paths(described: dict[str, dict[str, Any]]) -> Paths:
    found = []
    for path, item in described.items():
        pattern = re.sub(r"\\{queue\\}", ".+", re.escape(path))
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", pattern)
        found.append((re.compile(pattern), frozenset(method.upper() for method in item)))
    return found
