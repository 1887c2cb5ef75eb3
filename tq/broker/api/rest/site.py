"""The dashboard's files: read once when the broker starts, served from memory to everybody.

Rules of the file:
- They hold nothing of this broker, so they need no key; what they show comes through the calls, which do.
- Every answer carries a policy under which a browser runs no script and loads nothing but these files, whatever a
  payload or an error text may hold. A page that needs it loosened is wrong.
- A path that is not here is not ours: it goes on to the calls. Nothing below /api, no probe and no description is shadowed.
- Pages name the files by addresses that have a hash of all of them in front, so a browser keeps them for good and an
  upgrade is seen at once: a page that was there before is opened again with one question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response

from tq.broker.api.rest.site_modules import modules_of

ASSETS = "/assets/"
PAGES = {
    "/": "overview",
    "/tasks": "tasks",
    "/workers": "workers",
    "/queues": "queues",
    "/dlq": "dlq",
    "/cluster": "cluster",
}
"""path -> the module that draws it; each task's is below /tasks/."""
TASK_PAGE, MISSING_PAGE = "task", "missing"
MAIN = "app/main.js"
MODULES = b"<!-- modules -->"
"""Where the shell names what its page stands on."""
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
}
ASKED_AFTER = {"Cache-Control": "no-cache"}
"""Kept, and asked after each time."""
KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}
_HASHED = re.compile(r"[0-9a-f]{16}/")
DEPTH_MAX = 4
"""Directories within each other."""


class File(NamedTuple):
    body: bytes
    media_type: str
    etag: str


class Site:
    def __init__(self, found: Mapping[str, File]) -> None:
        """found: path below the directory -> file; one of them is `index.html`."""
        hashes = "".join(f"{name} {file.etag}\n" for name, file in sorted(found.items()))
        self._hashed = blake2b(hashes.encode(), digest_size=8).hexdigest() + "/"
        self._assets = {name: file for name, file in found.items() if name != "index.html"}
        self._shells = {page: self._shell(found, page) for page in (*PAGES.values(), TASK_PAGE, MISSING_PAGE)}

    def answer(self, path: str, headers: Headers) -> Response | None:
        """The file at a path, 304 when the browser has it; None when the path is not the dashboard's."""
        file, keeping = self._asset(path), ASKED_AFTER
        if file is not None and path.startswith(self._hashed, len(ASSETS)):
            keeping = KEPT
        if file is None and self._is_page(path, headers):
            file = self._shells[_page_at(path)]
        if file is None:
            return None
        told = {**HEADERS, **keeping, "ETag": file.etag}
        if _has(headers.get("if-none-match", ""), file.etag):
            return Response(status_code=304, headers=told)
        return Response(file.body, headers=told, media_type=file.media_type)

    def _asset(self, path: str) -> File | None:
        """With the hash in front, without it, or with that of another node's files, which is no address to keep it at."""
        if not path.startswith(ASSETS):
            return None
        name = path.removeprefix(ASSETS)
        return self._assets.get(_HASHED.sub("", name, count=1) if _HASHED.match(name) else name)

    def _shell(self, found: Mapping[str, File], page: str) -> File:
        """The document of one page: it names the modules of that page, and everything where it may be kept."""
        modules = modules_of({name: file.body for name, file in found.items()}, MAIN, f"pages/{page}.js")
        links = "\n    ".join(
            f'<link rel="modulepreload" href="{ASSETS}{name}" />' for name in modules if name != MAIN
        )
        body = found["index.html"].body.replace(MODULES, links.encode())
        body = body.replace(b'"' + ASSETS.encode(), f'"{ASSETS}{self._hashed}'.encode())
        return _file(body, MEDIA_TYPES[".html"])

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
            yield prefix + entry.name, _file(entry.read_bytes(), media_type)


def _file(body: bytes, media_type: str) -> File:
    return File(body, media_type, f'"{blake2b(body, digest_size=12).hexdigest()}"')


def _page_at(path: str) -> str:
    return PAGES.get(path, TASK_PAGE if path.startswith("/tasks/") else MISSING_PAGE)


def _has(if_none_match: str, etag: str) -> bool:
    known = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in (etag, "*") for tag in known)
