"""The dashboard's files: read once when the broker starts, served from memory to everybody.

Rules of the file:
- They hold nothing of this broker, so they need no key; what they show comes through the calls, which do.
- Every answer carries a policy under which a browser runs no script and loads nothing but these files, whatever a
  payload or an error text may hold. A page that needs it loosened is wrong.
- A path that is not here is not ours: it goes on to the calls. Nothing below /api, no probe and no description is shadowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response

ASSETS = "/assets/"
PAGES = frozenset({"/", "/tasks", "/workers", "/queues", "/dlq", "/cluster"})
"""The paths of pages, and each task's below /tasks/."""
NOT_PAGES = ("/api/", "/docs", "/openapi", "/metrics", "/health", "/livez", "/readyz", ASSETS)
"""What these begin is never answered with a page, not even when it does not exist."""
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Files with other endings are not served."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked after each time: an upgrade is seen at once
}
DEPTH_MAX = 4
"""Directories within each other."""


class File(NamedTuple):
    body: bytes
    media_type: str
    etag: str


class Site:
    def __init__(self, found: Mapping[str, File]) -> None:
        """found: path below the directory -> file; one of them is `index.html`."""
        self._index = found["index.html"]
        self._assets = {ASSETS + name: file for name, file in found.items() if name != "index.html"}

    def answer(self, path: str, headers: Headers) -> Response | None:
        """The file at a path, 304 when the browser has it; None when the path is not the dashboard's."""
        file = self._assets.get(path)
        if file is None and self._is_page(path, headers):
            file = self._index
        if file is None:
            return None
        told = {**HEADERS, "ETag": file.etag}
        if _has(headers.get("if-none-match", ""), file.etag):
            return Response(status_code=304, headers=told)
        return Response(file.body, headers=told, media_type=file.media_type)

    def _is_page(self, path: str, headers: Headers) -> bool:
        if path in PAGES:
            return True
        if path.startswith(NOT_PAGES):
            return False
        if path.startswith("/tasks/") and path.count("/") == 2:
            return True
        # Whoever mistypes an address in a browser is told so by the page; a program gets its JSON error.
        return "." not in path and "text/html" in headers.get("accept", "")


def read_site() -> Site:
    """The files as they were installed. Raises OSError for an installation without them."""
    root = files("tq.broker.api").joinpath("dashboard")
    return Site(dict(_walk(root, "", DEPTH_MAX)))


def _walk(directory: Traversable, prefix: str, depth: int) -> Iterator[tuple[str, File]]:
    for entry in directory.iterdir():
        if entry.is_dir() and depth:
            yield from _walk(entry, f"{prefix}{entry.name}/", depth - 1)
            continue
        media_type = MEDIA_TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is not None:
            body = entry.read_bytes()
            yield (
                prefix + entry.name,
                File(body, media_type, f'"{blake2b(body, digest_size=12).hexdigest()}"'),
            )


def _has(if_none_match: str, etag: str) -> bool:
    known = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in (etag, "*") for tag in known)
