"""The dashboard's files: served to everybody, under a strict policy, and in nobody's way."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from tests.rest.serving import run, scripted
from tests.rest.test_rest_access import Keys
from tq.broker.api.rest.site import MEDIA_TYPES, PAGES, POLICY, File, Site, read_site
from tq.broker.api.rest.site_modules import modules_of

HTML = {"accept": "text/html,*/*"}
API = ("/api/v1/stats", "/health", "/livez", "/readyz", "/docs", "/openapi.json")


@pytest.mark.parametrize(
    "path", [*sorted(PAGES), "/tasks/018f3c1e-7c2a-7b1e-9a55-3f1f6f3c2b10", "/tasks?queue=a&queue=b"]
)
def test_every_page_is_the_shell_and_takes_no_key(path: str) -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            answer = await door.http.get(path)

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text.lower().startswith("<!doctype html>")

    run(scenario())


def test_every_answer_carries_the_policy() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            for path in ("/", "/assets/app/main.js"):
                answer = await door.http.get(path)
                assert answer.headers["content-security-policy"] == POLICY
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["cache-control"] == "no-cache"

    run(scenario())


def test_the_shell_names_files_at_addresses_that_may_be_kept_for_good() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            shell = (await door.http.get("/")).text
            (main,) = re.findall(r'src="(/assets/[0-9a-f]{16}/app/main.js)"', shell)
            kept = await door.http.get(main)
            assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert kept.headers["content-security-policy"] == POLICY
            assert re.findall(r'="/assets/(?![0-9a-f]{16}/)', shell) == []

            # Another node's shell, during an upgrade: it gets the file, but not to keep it there.
            other = await door.http.get(f"/assets/{'0' * 16}/app/main.js")
            assert (other.content, other.headers["cache-control"]) == (kept.content, "no-cache")

    run(scenario())


def test_the_hash_in_front_changes_with_any_file() -> None:
    def shell(module: bytes) -> bytes:
        files = {
            "index.html": File(b'<link href="/assets/a.css" /><!-- modules -->', "text/html", '"1"'),
            "app/main.js": File(module, "text/javascript", f'"{module.hex()}"'),
        }
        answer = Site(files).answer("/", Headers({}))
        assert answer is not None
        return bytes(answer.body)

    assert shell(b"1") == shell(b"1")
    assert shell(b"1") != shell(b"2")


def test_a_page_stands_on_what_it_imports_directly_or_not() -> None:
    files = {
        "app/main.js": b"import { a } from './a.js';\nconst late = () => import('../pages/late.js');\n",
        "app/a.js": b"/** @typedef {import('./types.js').T} T */\nimport {\n  b,\n  c,\n} from '../parts/b.js';\n",
        "parts/b.js": b"import './gone.js';\nexport { a } from '../app/a.js';\n",
        "pages/late.js": b"",
        "pages/one.js": b"import { b } from '../parts/b.js';",
        "app/types.js": b"",
    }

    assert modules_of(files, "app/main.js", "pages/one.js", "pages/none.js") == [
        "app/main.js",
        "pages/one.js",
        "app/a.js",
        "parts/b.js",
    ]


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))

    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_a_browser_that_has_a_file_is_told_so() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            first = await door.http.get("/assets/app/main.js")
            etag = first.headers["etag"]
            for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
                again = await door.http.get("/assets/app/main.js", headers={"if-none-match": known})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == etag
            changed = await door.http.get("/assets/app/main.js", headers={"if-none-match": '"other"'})

        assert changed.status_code == 200
        assert first.headers["content-type"] == "text/javascript; charset=utf-8"

    run(scenario())


def test_head_tells_the_same_without_the_body() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.head("/queues")

        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0

    run(scenario())


@pytest.mark.parametrize("path", API)
def test_what_was_there_before_is_not_shadowed_even_for_a_browser(path: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.get(path, headers=HTML)

        assert answer.headers.get("content-security-policy") != POLICY

    run(scenario())


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nowhere", HTML, 200),
        ("/nowhere", {"accept": "*/*"}, 404),
        ("/api/v1/nowhere", HTML, 404),
        ("/assets/nothing.js", HTML, 404),
        ("/assets/../answers.py", HTML, 404),
        ("/assets/tsconfig.json", HTML, 404),
        ("/nowhere.js", HTML, 404),
        ("/tasks/one/two", {"accept": "*/*"}, 404),
    ],
    ids=["person", "program", "api", "asset", "outside", "not-served", "file", "deeper"],
)
def test_what_is_not_there_is_the_page_that_says_so_or_an_error(
    path: str, headers: dict[str, str], status: int
) -> None:
    site = Site({"index.html": File(b"shell", "text/html", '"1"')})

    answer = site.answer(path, Headers(headers))

    assert (answer is not None) == (status == 200)


def test_a_page_is_only_read() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.post("/queues")

        assert answer.status_code == 404

    run(scenario())


def test_all_files_are_read_but_those_that_are_for_the_developers() -> None:
    site = read_site()

    assert site.answer("/assets/app/main.js", Headers({})) is not None
    assert site.answer("/assets/tsconfig.json", Headers({})) is None


def test_all_that_is_served_is_packed_into_the_wheel() -> None:
    root = Path(__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "tq"
    ]
    packed = {path for pattern in patterns for path in (root / "tq").glob(pattern)}
    served = {
        path
        for path in (root / "tq" / "broker" / "api" / "dashboard").rglob("*")
        if path.suffix in MEDIA_TYPES
    }

    assert len(served) > 20
    assert served <= packed
