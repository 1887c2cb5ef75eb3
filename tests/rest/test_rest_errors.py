"""What goes wrong, and that it is told in one shape: {error, code, outcome, timestamp}."""

from __future__ import annotations

import re
from datetime import datetime

import httpx
import pytest

from tests.rest.serving import JSON, TASKS, run, scripted
from tq.broker.api.status_map import status_of
from tq.broker.rates import Rates
from tq.errors import BY_CODE, QueueFull, TqError
from tq.verbs import Cancel, GetStats, Submit

ONE = f"{TASKS}/018f3c1e-7c2a-7b1e-9a55-3f1f6f3c2b10"
SECRET = "c2VjcmV0LXBheWxvYWQ"


def check_shape(answer: httpx.Response) -> dict[str, str]:
    document: dict[str, str] = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert document.keys() == {"error", "code", "outcome", "timestamp"}
    assert document["outcome"] in ("rejected", "unavailable", "unknown")
    assert datetime.fromisoformat(document["timestamp"]).tzinfo is not None
    assert document["error"]
    return document


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=list(BY_CODE))
def test_every_error_of_the_broker_comes_out_as_the_table_has_it(kind: type[TqError]) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies[Cancel] = kind("because", retry_after_ms=1_500)
            answer = await door.http.delete(ONE)
            assert door.observer.rejections == {kind.code: 1}

        row = status_of(kind())
        document = check_shape(answer)
        assert (answer.status_code, document["code"], document["error"]) == (row.http, row.word, "because")
        assert document["outcome"] == kind.outcome
        assert answer.headers.get("retry-after") == ("2" if row.http in (429, 503) else None)

    run(scenario())


@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/batch"])
def test_the_calls_past_fastapi_tell_errors_alike(path: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies[Submit] = QueueFull("full", retry_after_ms=3_000)
            task = {"task_type": "t"}
            answer = await door.http.post(path, json={"tasks": [task]} if "batch" in path else task)

        assert (answer.status_code, check_shape(answer)["code"]) == (503, "QUEUE_DEPTH_EXCEEDED")
        assert answer.headers["retry-after"] == "3"

    run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/api/v1/tasks/", 404, "NOT_FOUND"),
        ("GET", "/api/v1/tasks/x/y", 404, "NOT_FOUND"),
        ("GET", f"{TASKS}/no-uuid", 400, "BAD_REQUEST"),
        ("GET", f"{TASKS}/{'0' * 500}", 400, "BAD_REQUEST"),
        ("DELETE", f"{ONE}?force=yes", 400, "BAD_REQUEST"),
        ("PUT", TASKS, 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"{TASKS}/batch", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/health", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_requests_that_lead_nowhere_are_told_in_the_same_shape(
    method: str, path: str, status: int, code: str
) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.request(method, path)

        assert (answer.status_code, check_shape(answer)["code"]) == (status, code)

    run(scenario())


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(TASKS, "GET, POST"), (ONE, "DELETE, GET"), (f"{TASKS}/batch", "POST"), ("/livez", "GET")],
)
def test_a_wrong_method_is_told_the_right_ones(path: str, allowed: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            assert (await door.http.patch(path)).headers["allow"] == allowed

    run(scenario())


BAD_BODIES = {
    "no json": (b"{", "body: Invalid JSON"),
    "no utf-8": (b'{"task_type":"\xff"}', "body: Invalid JSON"),
    "empty": (b"", "body: Invalid JSON"),
    "a list": (b"[]", "body: should be an object"),
    "no type": (b"{}", "task_type: is required"),
    "empty type": (b'{"task_type":""}', "task_type: "),
    "long type": (b'{"task_type":"' + b"t" * 256 + b'"}', "task_type: "),
    "control character": (b'{"task_type":"a\\u0000"}', "task_type: "),
    "lone surrogate": (b'{"task_type":"\\ud800"}', "body: Invalid JSON"),
    "unknown field": (b'{"task_type":"t","max_retires":1}', "max_retires: is not a field"),
    "text for a number": (b'{"task_type":"t","max_retries":"3"}', "max_retries: "),
    "true for a number": (b'{"task_type":"t","priority":true}', "priority: "),
    "negative": (b'{"task_type":"t","max_retries":-1}', "max_retries: "),
    "fraction": (b'{"task_type":"t","max_retries":1.5}', "max_retries: "),
    "priority": (b'{"task_type":"t","priority":256}', "priority: "),
    "priority word": (b'{"task_type":"t","priority":"urgent"}', "priority: "),
    "nan": (b'{"task_type":"t","timeout_seconds":NaN}', "timeout_seconds: "),
    "infinity": (b'{"task_type":"t","timeout_seconds":1e999}', "timeout_seconds: "),
    "huge": (b'{"task_type":"t","timeout_seconds":' + b"9" * 400 + b"}", "timeout_seconds: "),
    "no time": (b'{"task_type":"t","timeout_seconds":0}', "timeout_seconds: "),
    "nan inside": (b'{"task_type":"t","payload_json":[NaN]}', "payload_json: NaN"),
    "deep": (b'{"task_type":"t","payload_json":' + b"[" * 9_999 + b"]" * 9_999 + b"}", "body: Invalid JSON"),
    "bad base64": (b'{"task_type":"t","payload":"%%%"}', "payload: "),
    "no padding": (b'{"task_type":"t","payload":"YQ"}', "payload: "),
    "bad id": (b'{"task_type":"t","task_id":"x"}', "task_id: "),
    "bad dependency": (b'{"task_type":"t","dependencies":["x"]}', "dependencies[0]: "),
    "bad time": (b'{"task_type":"t","schedule_at":"tomorrow"}', "schedule_at: "),
    "no such day": (b'{"task_type":"t","schedule_at":"2030-02-30T00:00:00Z"}', "schedule_at: "),
    "before 1970": (b'{"task_type":"t","schedule_at":"1969-12-31T23:59:59Z"}', "schedule_at: "),
    "beyond 9999": (b'{"task_type":"t","expires_at":"9999-12-31T23:59:59-12:00"}', "expires_at: "),
    "number for a time": (b'{"task_type":"t","schedule_at":1893456000}', "schedule_at: "),
    "two payloads": (b'{"task_type":"t","payload":"","payload_json":1}', "payload: "),
    "two times": (b'{"task_type":"t","schedule_at":"2030-01-01T00:00Z","delay_seconds":1}', "schedule_at: "),
    "key missing": (b'{"task_type":"t","unique_ttl":1}', "unique_ttl: "),
    "no delays": (b'{"task_type":"t","retry":{"strategy":"custom"}}', "retry.delays_seconds: "),
    "strategy": (b'{"task_type":"t","retry":{"strategy":"never"}}', "retry.strategy: "),
    "jitter": (b'{"task_type":"t","retry":{"jitter":1.1}}', "retry.jitter: "),
    "metadata": (b'{"task_type":"t","metadata":{"a":1}}', "metadata.a: "),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_malformed_task_is_refused_with_the_field_at_fault(name: str) -> None:
    body, says = BAD_BODIES[name]

    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.post(TASKS, content=body, headers=JSON)
            assert door.backend.seen == []

        assert (answer.status_code, check_shape(answer)["code"]) == (400, "BAD_REQUEST")
        assert answer.json()["error"].startswith(says)

    run(scenario())


def test_every_wrong_field_is_named_and_no_value_is_repeated() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            task = {"task_type": SECRET * 30, "payload": SECRET, "queue": [SECRET], SECRET[:9]: 1}
            text = (await door.http.post(TASKS, json=task)).json()["error"]

        assert re.findall(r"(?:^|; )(\w+):", text) == ["task_type", "queue", "payload", SECRET[:9]]
        assert SECRET not in text

    run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        JSON | {"content-encoding": "gzip"},
    ],
    ids=["none", "text", "form", "gzip"],
)
@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/purge"])
def test_bodies_that_are_not_plain_json_are_refused(path: str, headers: dict[str, str]) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.post(path, content=b'{"status":"completed"}', headers=headers)

        assert (answer.status_code, check_shape(answer)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")

    run(scenario())


def test_a_write_that_gets_no_answer_in_time_is_unknown_and_a_read_unavailable() -> None:
    async def scenario() -> None:
        async with scripted(call_s_max=0.05) as door:
            door.backend.hold = True
            write = await door.http.post(TASKS, json={"task_type": "t"})
            read = await door.http.get("/api/v1/stats")

        assert (write.status_code, check_shape(write)["code"]) == (504, "OUTCOME_UNKNOWN")
        assert (read.status_code, check_shape(read)["code"]) == (503, "BROKER_UNAVAILABLE")

    run(scenario())


@pytest.mark.parametrize("verb", [Submit, GetStats])
def test_a_defect_is_told_without_its_inside(verb: type[Submit] | type[GetStats]) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies[verb] = door.backend.replies[Cancel]  # a reply of another verb
            if verb is Submit:
                answer = await door.http.post(TASKS, json={"task_type": "t"})
            else:
                answer = await door.http.get("/api/v1/stats")

        assert (answer.status_code, check_shape(answer)["code"]) == (500, "INTERNAL")
        assert "TaskRef" not in answer.text and "Traceback" not in answer.text

    run(scenario())


def test_rate_limits_are_told_in_headers_and_a_batch_costs_what_it_holds() -> None:
    async def scenario() -> None:
        async with scripted(rates=Rates(lambda: 0, per_address=10)) as door:
            first = await door.http.post(TASKS, json={"task_type": "t"})
            batch = await door.http.post(f"{TASKS}/batch", json={"tasks": [{"task_type": "t"}] * 9})
            refused = await door.http.get("/api/v1/stats")
            probe = await door.http.get("/health")

        limits = [answer.headers["x-ratelimit-remaining"] for answer in (first, batch, refused)]
        assert limits == ["9", "0", "0"]
        assert (refused.status_code, check_shape(refused)["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert (refused.headers["x-ratelimit-limit"], refused.headers["retry-after"]) == ("10", "1")
        assert int(refused.headers["x-ratelimit-reset"]) >= 1
        assert probe.status_code == 200

    run(scenario())


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_may_change_nothing(origin: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            headers = {"origin": origin}
            refused = await door.http.post("/api/v1/queues/q/pause", headers=headers)
            assert door.backend.seen == []
            own = await door.http.post(
                "/api/v1/queues/q/pause", headers={"origin": f"http://{door.host}:{door.port}"}
            )

        assert (refused.status_code, check_shape(refused)["code"]) == (403, "PERMISSION_DENIED")
        assert own.status_code == 200

    run(scenario())
