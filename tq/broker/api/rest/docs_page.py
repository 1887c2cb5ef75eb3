"""`/docs`: the description of the interface as one page of HTML, made once. No script, and nothing from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""For the header Content-Security-Policy: browsers hold the page to what is said above."""
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
code, pre { font: 14px/1.4 ui-monospace, monospace } pre { overflow: auto; padding: .5rem; border: 1px solid #8886 }
summary { cursor: pointer; padding: .25rem 0 } section > details { border-top: 1px solid #8886 }
table { border-collapse: collapse } th, td { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0 }
b.method { display: inline-block; min-width: 4.5rem }
"""


def docs_page(description: Mapping[str, Any]) -> bytes:
    """description: an OpenAPI document."""
    info = description["info"]
    title = f"{info['title']} {info['version']}"
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>',
        f"<h1>{escape(title)}</h1><p>{escape(info.get('description', ''))}</p>",
        '<p>The same for programs: <a href="/openapi.json">openapi.json</a></p><h2>Calls</h2><section>',
    ]
    for path, item in description["paths"].items():
        for method, operation in item.items():
            parts += _call(path, method, operation)
    parts.append("</section><h2>Bodies</h2><section>")
    for name, schema in sorted(description["components"]["schemas"].items()):
        parts.append(
            f'<details id="{escape(name)}"><summary>{escape(name)}</summary>{_json(schema)}</details>'
        )
    parts.append("</section></html>")
    return "".join(parts).encode()


def _call(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<details><summary><b class="method">{method.upper()}</b> <code>{escape(path)}</code></summary>'
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    permission = operation.get("x-tq-permission")
    if permission:
        yield f"<p>Permission: <code>{escape(str(permission))}</code></p>"
    rows = [
        (f"{each['name']}{' *' if each.get('required') else ''}", each["in"], _about(each))
        for each in operation.get("parameters", ())
    ]
    yield _table(("parameter", "in", ""), rows)
    body = operation.get("requestBody")
    if body:
        yield f"<p>Body: {_bodies(body)}</p>"
    responses = operation["responses"].items()
    found = [(code, each.get("description", ""), _bodies(each)) for code, each in sorted(responses)]
    yield _table(("status", "", "body"), [(code, escape(text), shown) for code, text, shown in found])
    yield "</details>"


def _about(parameter: Mapping[str, Any]) -> str:
    schema = {
        name: value for name, value in parameter["schema"].items() if name not in ("title", "description")
    }
    text = escape(parameter.get("description", ""))
    return f"{text} <code>{escape(json.dumps(schema, ensure_ascii=False))}</code>"


def _bodies(holder: Mapping[str, Any]) -> str:
    """Links to the schemas of a body's media types."""
    shown = []
    for kind, media in holder.get("content", {}).items():
        name = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
        shown.append(f'<a href="#{escape(name)}">{escape(name)}</a>' if name else escape(kind))
    return ", ".join(shown)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already."""
    if not rows:
        return ""
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return (
        "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>" + "".join(lines) + "</table>"
    )


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
