"""The modules that decide something, each in the browser it is written for: the document, bytes, words."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from playwright.sync_api import Browser

import tq.broker.api
from tests.browser.site import Site, Tab

FILE_LINES_MAX = 400
OTHERS = {f"/{name}.js" for name in ("overview", "tasks", "task", "workers", "queues", "dlq", "cluster")}
DASHBOARD = Path(tq.broker.api.__file__).parent / "dashboard"
VALUES: list[Any] = [
    [[], {}],
    [["a@b.c", "Grüße 🐘"], {"subject": "hi", "retries": 3}],
    [[0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**64 - 1], {}],
    [[-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**53), -(2**63)], {}],
    [[0.5, -1.25, 1e300], {"yes": True, "no": False, "none": None}],
    [["x" * 31, "x" * 32, "x" * 255, "x" * 256, "x" * 65536], {}],
    [list(range(15)), list(range(16)), list(range(70000))],
    {str(number): number for number in range(20)},
]


@pytest.fixture(scope="module")
def open_tab(browser: Browser, site: Site) -> Iterator[Tab]:
    """One tab for the whole file: nothing here changes what it shows."""
    tab = Tab(browser, site.origin)
    tab.open("/nowhere", "missing")
    yield tab
    tab.check()
    tab.close()


def run(tab: Tab, module: str, body: str, argument: object = None) -> Any:
    """What `body` returns; it sees the module as `m` and the argument as `it`."""
    script = f"async (it) => {{ const m = await import('/assets/{module}'); {body} }}"
    return tab.page.evaluate(script, argument)


# ------------------------------------------------------------ msgpack and JSON


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_msgpack_of_python_reads_as_the_json_it_stands_for(open_tab: Tab, value: object) -> None:
    packed = b64encode(msgpack.packb(value)).decode()

    text = run(
        open_tab,
        "app/msgpack.js",
        "return m.msgpackText(Uint8Array.from(atob(it), (c) => c.charCodeAt(0)));",
        packed,
    )

    assert json.loads(text) == value


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_json_is_packed_to_the_bytes_that_python_packs(open_tab: Tab, value: object) -> None:
    packed = run(
        open_tab,
        "app/msgpack_write.js",
        "return btoa(Array.from(m.packJson(it), (b) => String.fromCharCode(b)).join(''));",
        json.dumps(value),
    )

    assert b64decode(packed) == msgpack.packb(value)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x92\x01", b"\x01\x01", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xa1\xff", b"\x91" * 100 + b"\x01"],
    ids=["empty", "cut", "more", "reserved", "huge", "no-utf-8", "deep"],
)
def test_what_is_no_msgpack_is_told_apart(open_tab: Tab, data: bytes) -> None:
    text = run(open_tab, "app/msgpack.js", "return m.msgpackText(Uint8Array.from(it));", list(data))

    assert text is None


def test_an_integer_beyond_64_bits_is_refused_instead_of_rounded(open_tab: Tab) -> None:
    error = run(
        open_tab, "app/msgpack_write.js", "try { m.packJson(it); } catch (e) { return e.name; }", str(2**64)
    )

    assert error == "RangeError"


def test_large_integers_bytes_and_extensions_are_shown_as_what_they_are(open_tab: Tab) -> None:
    packed = msgpack.packb([2**64 - 1, -(2**63), b"\x00\xff", msgpack.Timestamp(1, 2)])

    text = run(open_tab, "app/msgpack.js", "return m.msgpackText(Uint8Array.from(it));", list(packed))

    assert text == f'[{2**64 - 1},{-(2**63)},"<2 bytes: 00ff>","<extension -1, 8 bytes>"]'


def test_json_is_laid_out_without_a_digit_or_a_key_lost(open_tab: Tab) -> None:
    source = (
        '{"id":12345678901234567890,"id":1.50,"list":['
        + ",".join(["1"] * 50)
        + '],"text":"a \\"{[,:]}\\" b","none":[]}'
    )

    text = run(
        open_tab,
        "components/json.js",
        "const pre = document.createElement('pre'); pre.append(...m.jsonNodes(it)); return pre.textContent;",
        source,
    )

    assert "".join(text.split()).replace('"a\\"{[,:]}\\"b"', '"a \\"{[,:]}\\" b"') == source
    assert text.startswith('{\n  "id": 12345678901234567890,\n  "id": 1.50,\n  "list": [\n    1,\n')
    assert text.endswith('\n  "none": []\n}')


# ------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("duration", 0, "0 ms"),
        ("duration", 999, "999 ms"),
        ("duration", 1_000, "1 s"),
        ("duration", 59_999, "59.9 s"),
        ("duration", 60_000, "1m"),
        ("duration", 3_725_000, "1h 2m"),
        ("duration", 90_000_000, "1d 1h"),
        ("duration", None, "–"),
        ("visible", "a name-1 ü 日本", "a name-1 ü 日本"),
        ("visible", "a\u200bb\ufeff", "a\\u{200b}b\\u{feff}"),
        ("visible", "\u202egpj.exe", "\\u{202e}gpj.exe"),
        ("visible", " a  b ", "\\u{20}a \\u{20}b\\u{20}"),
        ("visible", "a\u00a0b\\u{c}\t", "a\\u{a0}b\\u{5c}u{c}\\u{9}"),
        ("meant", "\\u{20}odd\\u{200b}", " odd\u200b"),
        ("meant", "a\\u{5c}u{c} \\u{ffffff} \\u{}", "a\\u{c} \\u{ffffff} \\u{}"),
        ("legible", "one\n\ttwo\r\n  three \u202e\x1b[31m", "one\n\ttwo\r\n  three \\u{202e}\\u{1b}[31m"),
        ("words", "dead_letter", "dead letter"),
        ("words", "failed", "retrying"),
        ("about", 0, "≈ 0 ms"),
        ("about", 47.3, "≈ 47 ms"),
        ("about", 1_234, "≈ 1.2 s"),
        ("about", 297_000, "≈ 5 min"),
        ("about", 5_400_000, "≈ 1.5 h"),
        ("brief", 9_999, "9,999"),
        ("brief", 12_345, "12.3k"),
        ("brief", 4_100_000, "4.1M"),
        ("bytes", 1_536, "1.5 KB"),
        ("rate", 12, "12/min"),
        ("rate", 2_520, "42/s"),
    ],
)
def test_numbers_read_as_people_say_them(open_tab: Tab, function: str, value: object, text: str) -> None:
    assert run(open_tab, "app/format.js", f"return m.{function}(it);", value) == text


# ------------------------------------------------------------ the document


def test_drawing_anew_keeps_the_nodes_focus_and_typed_text_of_what_stays(open_tab: Tab) -> None:
    found = run(
        open_tab,
        "app/dom.js",
        """
        const box = document.body.appendChild(document.createElement('div'));
        const row = (key, text) => m.h('p', { key }, m.h('input', { 'aria-label': key, value: 'x' }), text);
        m.patch(box, [row('a', '1'), row('b', '1'), row('c', '1')]);
        const [, b, c] = box.children;
        c.firstChild.focus();
        c.firstChild.value = 'typed';
        m.patch(box, [row('new', '1'), row('b', '2'), row('c', '2')]);
        const result = {
          isSame: box.children[1] === b && box.children[2] === c,
          hasFocus: document.activeElement === c.firstChild,
          typed: c.firstChild.value,
          text: box.textContent,
        };
        box.remove();
        return result;
        """,
    )

    assert found == {"isSame": True, "hasFocus": True, "typed": "typed", "text": "122"}


def test_drawing_anew_puts_rows_in_the_wanted_order(open_tab: Tab) -> None:
    orders = ["abc", "cab", "b", "bdca", "", "adbc", "zyx", "abcdefz"]

    shown = run(
        open_tab,
        "app/dom.js",
        """
        const box = document.createElement('div');
        return it.map((order) => {
          m.patch(box, [...order].map((key) => m.h('p', { key }, key)));
          return box.textContent;
        });
        """,
        orders,
    )

    assert shown == orders


def test_handlers_and_attributes_are_those_of_the_latest_drawing(open_tab: Tab) -> None:
    found = run(
        open_tab,
        "app/dom.js",
        """
        const box = document.createElement('div');
        const pressed = [];
        m.patch(box, [m.h('button', { onclick: () => pressed.push('old'), disabled: true, title: 'x' }, 'a')]);
        m.patch(box, [m.h('button', { onclick: () => pressed.push('new'), class: 'y' }, 'b')]);
        box.firstChild.click();
        return [pressed, box.innerHTML];
        """,
    )

    assert found == [["new"], '<button class="y">b</button>']


def test_data_never_becomes_markup_handlers_or_style(open_tab: Tab) -> None:
    hostile = '<img src=x onerror="window.hacked=1">'

    found = run(
        open_tab,
        "app/dom.js",
        """
        const node = m.h('p', { title: it }, it);
        const refused = ['style', 'onclick', 'srcdoc'].filter((name) => {
          try { m.h('p', { [name]: it }); return false; } catch { return true; }
        });
        return { children: node.childElementCount, text: node.textContent, refused };
        """,
        hostile,
    )

    assert found == {"children": 0, "text": hostile, "refused": ["style", "onclick", "srcdoc"]}


def test_an_exact_moment_has_its_time_zone(open_tab: Tab) -> None:
    text = run(open_tab, "components/time.js", "return m.full(it);", "2026-01-02T03:04:05Z")

    assert re.search(r"\d:04:05 .*(UTC|GMT|[A-Z]{3,4})", text)


# ------------------------------------------------------------ the files


@pytest.mark.parametrize("name", ["overview", "tasks", "workers", "queues", "dlq", "cluster"])
def test_the_first_answer_names_every_module_that_the_page_asks_for_and_no_other(
    browser: Browser, site: Site, name: str
) -> None:
    tab = Tab(browser, site.origin)
    # The other pages are fetched later; here never, so that it is seen what this one stands on.
    tab.page.add_init_script("window.requestIdleCallback = () => 0")
    tab.open("/" if name == "overview" else f"/{name}", name)

    named, ran = tab.page.evaluate(
        "() => [[...document.querySelectorAll('link[rel=modulepreload]')].map((link) => link.href),"
        " performance.getEntriesByType('resource').map((one) => one.name).filter((one) => one.endsWith('.js'))]"
    )

    assert named
    assert {url.rpartition("/")[2] for url in set(ran) - set(named)} == {"main.js", "theme.js"}
    assert f"pages/{name}.js" in " ".join(named)
    assert [url for url in named if "/pages/" in url and url.endswith(tuple(OTHERS - {f"/{name}.js"}))] == []
    tab.check()
    tab.close()


def test_a_page_that_was_opened_before_is_opened_again_without_asking_for_its_files(
    browser: Browser, site: Site
) -> None:
    tab = Tab(browser, site.origin)
    tab.open("/queues", "queues")
    tab.page.reload()
    tab.shown("queues")

    sent = tab.page.evaluate(
        "() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/assets/'))"
        ".map((one) => one.transferSize)"
    )

    assert len(sent) > 20
    assert set(sent) == {0}
    tab.check()
    tab.close()


def test_no_file_takes_markup_from_text() -> None:
    banned = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")

    found = [
        f"{path.name}: {word}"
        for path in DASHBOARD.rglob("*.js")
        for word in banned
        if word in path.read_text()
    ]

    assert not found


def test_the_document_holds_no_script_and_no_style_of_its_own() -> None:
    document = (DASHBOARD / "index.html").read_text()

    assert "<style" not in document
    assert " style=" not in document
    assert not re.search(r"\son\w+=", document)
    assert re.findall(r"<script[^>]*>(.*?)</script>", document, re.S) == ["", ""]


def test_no_file_of_the_dashboard_is_longer_than_four_hundred_lines() -> None:
    files = [path for ending in ("js", "css", "html") for path in DASHBOARD.rglob(f"*.{ending}")]

    long = {path.name: lines for path in files if (lines := path.read_text().count("\n")) > FILE_LINES_MAX}

    assert files
    assert not long, "ask of each what two things it holds"
