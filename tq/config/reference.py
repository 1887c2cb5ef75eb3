"""The reference tables of `docs/configuration.md`, made from the declarations so that they cannot disagree."""

from __future__ import annotations

import dataclasses
from typing import Any

from tq.config.models import File
from tq.config.settings import Setting, settings_of, variable_of
from tq.config.values import Optional


def reference() -> str:
    """Markdown: one table a section, one row a setting, in the order of the file."""
    return "\n".join(_section(field.name, field.metadata["section"]) for field in dataclasses.fields(File))


def _section(name: str, model: type[Any]) -> str:
    rows = [_row(".".join(path[1:]), field) for path, field in settings_of(model, (name,))]
    head = "| setting | default | value | meaning | flag, variable |\n|---|---|---|---|---|"
    return f"### `{name}`\n\n{(model.__doc__ or '').strip()}\n\n{head}\n" + "\n".join(rows) + "\n"


def _row(name: str, field: dataclasses.Field[Any]) -> str:
    known: Setting = field.metadata["setting"]
    twin = f"`--{known.flag}`, `{variable_of(known.flag)}`" if known.flag else ""
    cells = (f"`{name}`", _default(field, known), known.kind.expected, known.doc, twin)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: dataclasses.Field[Any], known: Setting) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "required"
    if value is None:
        return f"null ({known.kind.absent})" if isinstance(known.kind, Optional) else "null"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(each) for each in value)}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value or repr(value)}`"
