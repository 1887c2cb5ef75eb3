"""Who may call what: every call is a verb, and no call goes past the verb's permission."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.routing import BaseRoute

from tests.rest.serving import Scripted, run, scripted
from tests.rest.test_rest_reads import VIEW
from tq.broker.access import PERMISSION_OF, Permission, Principal, Verdict, principal
from tq.broker.api.rest.openapi import ANY_KEY, NO_PERMISSION, PERMISSION, VERB
from tq.errors import AuthenticationFailed
from tq.ids import new_id, to_text
from tq.verbs import GetTask

BODIES: dict[tuple[str, str], Any] = {
    ("post", "/api/v1/tasks"): {"task_type": "t"},
    ("post", "/api/v1/tasks/batch"): {"tasks": [{"task_type": "t"}]},
    ("post", "/api/v1/tasks/purge"): {"status": "completed"},
    ("post", "/api/v1/tasks/bulk/cancel"): {"filter": {}},
    ("post", "/api/v1/tasks/bulk/retry"): {"filter": {}},
    ("post", "/api/v1/tasks/bulk/delete"): {"filter": {}},
}
WHO_AM_I = "/api/v1/me"
"""Answered without a verb, to every key that is known."""
OPEN = {"/docs", "/openapi.json"}
"""What describes the interface, and shows nothing of the broker. OpenAPI has no words for the WebSocket."""


class Keys:
    """A key is called like what it permits."""

    is_open = False

    def __init__(self) -> None:
        self.known = {str(each): principal(str(each), (each,)) for each in Permission}

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        verdict(self.known.get(token) or AuthenticationFailed())

    def knows(self, who: Principal) -> bool:
        return who.name in self.known


async def status_of(door: Scripted, method: str, path: str, authorization: str | None) -> int:
    address = (
        path.replace("{task_id}", to_text(new_id())).replace("{queue}", "mail").replace("{worker}", "w1")
    )
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await door.http.request(method, address, json=BODIES.get((method, path)), headers=headers)
    return answer.status_code


async def calls(door: Scripted) -> list[tuple[str, str, str | None]]:
    """(method, path, permission) of every call that OpenAPI has."""
    document = (await door.http.get("/openapi.json")).json()
    return [
        (method, path, None if operation[PERMISSION] == NO_PERMISSION else operation[PERMISSION])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_every_route_says_which_verb_it_becomes_and_that_verbs_permission() -> None:
    verbs = {verb.__name__: permission for verb, permission in PERMISSION_OF.items()}

    async def scenario() -> None:
        async with scripted() as door:
            document = (await door.http.get("/openapi.json")).json()
            me = document["paths"].pop(WHO_AM_I)["get"]
            operations = [operation for item in document["paths"].values() for operation in item.values()]

        assert me[PERMISSION] == ANY_KEY and VERB not in me
        assert len(operations) >= 25
        for operation in operations:
            assert (verbs[operation[VERB]] or NO_PERMISSION) == operation[PERMISSION], operation

    run(scenario())


def test_no_route_is_left_out_of_openapi_but_the_pages_that_show_it() -> None:
    def paths_of(routes: list[BaseRoute]) -> set[str]:
        found: set[str] = set()
        for route in routes:
            inner = getattr(route, "original_router", None)
            found |= paths_of(inner.routes) if inner is not None else {getattr(route, "path", "")}
        return found

    async def scenario() -> None:
        async with scripted() as door:
            document = (await door.http.get("/openapi.json")).json()
            app = door.door.config.loaded_app._app
            hidden = {
                path.replace(":path", "")
                for path in paths_of(app.routes)
                if not any(known.endswith(path.replace(":path", "")) for known in document["paths"])
            }

        assert hidden == OPEN | {"/api/v1/events"}

    run(scenario())


def test_without_a_known_key_only_probes_are_answered() -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            door.backend.replies[GetTask] = VIEW
            for method, path, permission in await calls(door):
                for authorization in (None, "Bearer wrong", "Basic YTpi", "Bearer", "admin"):
                    status = await status_of(door, method, path, authorization)
                    assert (status == 401) == (permission is not None), (method, path, authorization)

    run(scenario())


def test_a_refused_key_is_told_which_scheme_to_use() -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            answer = await door.http.get("/api/v1/stats")

        assert answer.headers["www-authenticate"] == 'Bearer realm="tq"'

    run(scenario())


@pytest.mark.parametrize("held", Permission)
def test_a_key_may_call_what_its_permission_covers_and_nothing_else(held: Permission) -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            door.backend.replies[GetTask] = VIEW
            for method, path, permission in await calls(door):
                status = await status_of(door, method, path, f"bearer {held}")
                may = permission in (None, ANY_KEY) or held in (permission, Permission.ADMIN)
                assert (status == 403) != may, (method, path, held)
                assert status != 401

    run(scenario())


def test_a_body_is_not_read_for_a_stranger() -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            answer = await door.http.post("/api/v1/tasks", content=b"{", headers={"content-type": "x"})

        assert answer.status_code == 401

    run(scenario())
