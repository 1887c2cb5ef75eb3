"""What OpenAPI says of a call beside its path: the verb behind it, the permission, the body, every error."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tq.broker.access import PERMISSION_OF
from tq.broker.api.rest import answers, schemas
from tq.broker.api.rest.answers import ErrorBody
from tq.broker.api.rest.errors import (
    HttpFault,
    failed,
    no_such_method,
    request_timeout,
    status_and_document,
    unsupported_media,
)
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokerUnavailable,
    OutcomeUnknown,
    PayloadTooLarge,
    PermissionDenied,
    QueueFull,
    RateLimited,
    TqError,
    Unsupported,
)
from tq.verbs import GetHealth, Ping, Request, Submit
from tq.version import VERSION

BODIES: tuple[type[BaseModel], ...] = (
    schemas.NewTask,
    schemas.NewTasks,
    schemas.RetryBody,
    schemas.PauseBody,
    schemas.PurgeBody,
    schemas.CancelManyBody,
    schemas.RetryManyBody,
    schemas.DeleteManyBody,
    schemas.NewNode,
    schemas.TransferBody,
)
REF = "#/components/schemas/{model}"
EXAMPLE_MS = 1_893_456_000_000
VERB, PERMISSION, NO_PERMISSION, ANY_KEY = "x-tq-verb", "x-tq-permission", "none", "any"
"""Which verb a call becomes, and what a key needs for it: for readers, and for the test that none slips by."""

NO_IDS = (no_such_method("GET", "POST"),)
"""`batch` and `purge` stand where an id would, and take nothing but POST."""

DESCRIPTION = """\
Tasks, queues and workers of one tq broker. Every error has the same body; `outcome` says whether to send the
request again. Keys, when they are on, come as `Authorization: Bearer KEY`.
"""


def described(
    verb: type[Request],
    *errors: type[TqError],
    answer: type[BaseModel] | None = None,
    status: int = 200,
    text: str = "Done",
    body: type[BaseModel] | None = None,
    body_required: bool = True,
    also: Sequence[HttpFault] = (),
) -> dict[str, Any]:
    """Keyword arguments of a route's decorator. errors, also: those that only this call can have."""
    common: tuple[type[TqError], ...] = (BadRequest, BrokerUnavailable, OutcomeUnknown)
    if verb not in (Ping, GetHealth):
        common += (Unsupported,)  # a foreign store behind the broker may not be able to
    if PERMISSION_OF[verb] is not None:
        common += (AuthenticationFailed, PermissionDenied, RateLimited)
    if verb is Submit:
        common += (QueueFull,)
    faults: list[TqError | HttpFault] = [*(kind() for kind in (*common, *errors)), failed(), *also]
    if body is not None:
        faults += [PayloadTooLarge(), unsupported_media("the body must be application/json")]
        faults.append(request_timeout("the request did not arrive in time"))
    permission = PERMISSION_OF[verb]
    extra: dict[str, Any] = {VERB: verb.__name__, PERMISSION: permission or NO_PERMISSION}
    extra["security"] = [{"key": []}, {}] if permission is not None else []
    if body is not None:
        extra["requestBody"] = {
            "required": body_required,
            "content": {"application/json": {"schema": _reference(body)}},
        }
    responses: dict[int | str, dict[str, Any]] = error_responses(faults)
    responses[status] = shown(text, answer)
    return {"status_code": status, "responses": responses, "openapi_extra": extra}


def for_any_key(*, answer: type[BaseModel], text: str) -> dict[str, Any]:
    """As `described`, for a call that takes a known key but no permission: it is answered without a verb."""
    faults = [*(kind() for kind in (BadRequest, BrokerUnavailable, AuthenticationFailed)), failed()]
    responses: dict[int | str, dict[str, Any]] = error_responses(faults)
    responses[200] = shown(text, answer)
    extra = {PERMISSION: ANY_KEY, "security": [{"key": []}, {}]}
    return {"status_code": 200, "responses": responses, "openapi_extra": extra}


def shown(text: str, model: type[BaseModel] | None) -> dict[str, Any]:
    """A response. A reference, not FastAPI's `model`: that builds a validator for each, which nothing would use."""
    if model is None:
        return {"description": text}
    return {"description": text, "content": {"application/json": {"schema": _reference(model)}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def error_responses(faults: Sequence[TqError | HttpFault]) -> dict[int | str, dict[str, Any]]:
    """One entry a status, an example for each error that has it."""
    found: dict[int | str, dict[str, Any]] = {}
    for fault in faults:
        status, document = status_and_document(fault, EXAMPLE_MS)
        entry = found.setdefault(
            status,
            {
                "description": "",
                "content": {"application/json": {"schema": _reference(ErrorBody), "examples": {}}},
            },
        )
        code = str(document["code"])
        entry["content"]["application/json"]["examples"][code] = {"value": document}
        entry["description"] = ", ".join(filter(None, [entry["description"], code]))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            entry["headers"] = {
                "Allow": {"description": "The methods there are.", "schema": {"type": "string"}}
            }
        if status in (429, 503):
            entry["headers"] = {
                "Retry-After": {
                    "description": "Seconds to wait.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
    return found


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once."""
    document = get_openapi(
        title="tq", version=VERSION, description=DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    models = [*BODIES, *answers.ALL]
    _, bodies = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(bodies.get("$defs", {}))
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    # FastAPI adds its own error for parameters; here they are BAD_REQUEST like everything else.
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    return document
