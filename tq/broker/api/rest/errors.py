"""What went wrong, as HTTP says it: one body for every error, `{error, code, outcome, timestamp}`, and its headers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from tq import documents
from tq.broker.api.status_map import status_of
from tq.broker.observe import Observer
from tq.clock import Clock
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    Outcome,
    OutcomeUnknown,
    PermissionDenied,
    TqError,
)
from tq.logs import get_logger

RETRY_AFTER_MS = 1_000
"""Advice when an error that will pass names no time of its own."""
FAULTS_SHOWN_MAX = 50
"""A body with more wrong fields than this is told the first ones and how many there are."""
JSON = "application/json"
_log = get_logger("rest")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class HttpFault(Exception):
    """What is wrong with the request as HTTP, before it could become a verb. It never reached the broker."""

    def __init__(
        self, status: int, code: str, text: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.text, self.headers = status, code, text, headers or {}


def no_such_path(path: str) -> HttpFault:
    return HttpFault(404, "NOT_FOUND", f"there is nothing at {path[:200]!r}; /docs lists what there is")


def no_such_method(method: str, allowed: str) -> HttpFault:
    text = f"{method[:20]} is not possible here; {allowed} is"
    return HttpFault(405, "METHOD_NOT_ALLOWED", text, headers={"Allow": allowed})


def unsupported_media(text: str) -> HttpFault:
    return HttpFault(415, "UNSUPPORTED_MEDIA_TYPE", text)


def upgrade_required(text: str) -> HttpFault:
    return HttpFault(426, "UPGRADE_REQUIRED", text)


def request_timeout(text: str) -> HttpFault:
    return HttpFault(408, "REQUEST_TIMEOUT", text)


def status_and_document(error: TqError | HttpFault, now_ms: int) -> tuple[int, dict[str, object]]:
    """The status code and the body. timestamp: when it was answered, by the broker's wall clock."""
    if isinstance(error, TqError):
        row = status_of(error)
        status, code, outcome = row.http, row.word, error.outcome
    else:
        status, code, outcome = error.status, error.code, Outcome.REJECTED
    return status, {
        "error": error.text if isinstance(error, HttpFault) else error.text or code,
        "code": code,
        "outcome": str(outcome),
        "timestamp": documents.moment(now_ms),
    }


def headers_of(error: TqError | HttpFault, status: int) -> dict[str, str]:
    """Retry-After in whole seconds for what may pass, WWW-Authenticate for a missing key, Allow for a wrong method."""
    if isinstance(error, HttpFault):
        return dict(error.headers)
    if status in (429, 503):
        return {"Retry-After": str(max(1, -(-(error.retry_after_ms or RETRY_AFTER_MS) // 1000)))}
    if isinstance(error, AuthenticationFailed):
        return {"WWW-Authenticate": 'Bearer realm="tq"'}
    return {}


class ErrorAnswers:
    """Makes the answers that say what went wrong, and counts them."""

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._now_ms = clock.now_ms
        self._rejections = observer.rejections

    def response(self, error: TqError | HttpFault) -> Response:
        status, document = self.document(error)
        return json_response(document, status, headers_of(error, status))

    def raw(self, error: TqError | HttpFault) -> bytes:
        """A whole response, for a connection that has no request to answer and ends with it."""
        self._note(error)
        return raw_error(error, self._now_ms())

    def document(self, error: TqError | HttpFault) -> tuple[int, dict[str, object]]:
        """The status code and the body, for an answer that somebody else writes."""
        self._note(error)
        return status_and_document(error, self._now_ms())

    def _note(self, error: TqError | HttpFault) -> None:
        self._rejections[error.code] += 1
        _log.debug("request_refused", error.text, code=error.code)


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. Text that JSON cannot hold in UTF-8 does not occur: it is refused when it comes in."""
    return text_response(_ENCODER.encode(document), status, headers)


def text_response(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is JSON text already."""
    return Response(text.encode(), status, headers, JSON)


def raw_error(error: TqError | HttpFault, now_ms: int) -> bytes:
    """A whole HTTP/1.1 response in bytes."""
    status, document = status_and_document(error, now_ms)
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = {
        "content-type": JSON,
        "content-length": str(len(body)),
        "connection": "close",
        **headers_of(error, status),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {code_phrase(document)}\r\n{lines}\r\n".encode() + body


def code_phrase(document: Mapping[str, object]) -> str:
    return str(document["code"]).replace("_", " ").title()


def invalid(faults: Iterable[Mapping[str, Any]], *, inside: str = "") -> BadRequest:
    """BadRequest that names each wrong field, from pydantic's list of errors.

    inside: `query` and the like are left out of paths: which part of a request a field is in shows from its name.
    Values are not repeated: a payload must not come back in an error or get into a log.
    """
    found = list(faults)
    shown = [f"{_path(fault['loc'], inside)}: {_text(fault)}" for fault in found[:FAULTS_SHOWN_MAX]]
    if len(found) > len(shown):
        shown.append(f"and {len(found) - len(shown)} more")
    return BadRequest("; ".join(shown))


def _path(location: tuple[str | int, ...], inside: str) -> str:
    text = ""
    for step in location:
        if step == inside and not text:
            continue
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else str(step)[:100]
    return text or "body"


def _text(fault: Mapping[str, Any]) -> str:
    text = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if fault["type"] == "missing":
        return "is required"
    if fault["type"] == "extra_forbidden":
        return "is not a field known here"
    return text


def would_be_unknown(seconds: float) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"no answer within {seconds:g} s; it may have been done: submit again with the same task_id"
    )


def failed() -> TqError:
    """A defect, told without its inside."""
    return TqError("the broker failed on this request; its log says more")


def foreign_origin(origin: str) -> PermissionDenied:
    return PermissionDenied(
        f"a page of {origin[:100]!r} may not change anything here; use a client that is not a browser, or the same origin"
    )
