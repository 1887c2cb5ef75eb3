"""How a setting is declared: one line of a section says its kind, default, meaning and flag."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from tq.config.values import Kind

ENVIRONMENT_PREFIX = "TQ_"


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is known of a value beside its name and default.

    doc: one sentence with its unit, for the reference table. flag: without dashes, empty = none.
    switch: the flag takes no value. secret: never shown in messages and reprs.
    """

    kind: Kind
    doc: str
    flag: str = ""
    switch: bool = False
    secret: bool = False


def setting(
    default: Any, kind: Kind, doc: str, *, flag: str = "", switch: bool = False, secret: bool = False
) -> Any:
    """A field of a section. Typed Any, as dataclasses.field is, so that the section can give the real type."""
    known = Setting(kind, doc, flag, switch, secret)
    return dataclasses.field(default=default, repr=not secret, metadata={"setting": known})


def required(kind: Kind, doc: str, *, secret: bool = False) -> Any:
    """A field that has no default: an entry of a list is nothing without it."""
    return dataclasses.field(repr=not secret, metadata={"setting": Setting(kind, doc, secret=secret)})


def section(kind: type[Any]) -> Any:
    """A field that is a section of its own, all defaults unless given."""
    return dataclasses.field(default_factory=kind, metadata={"section": kind})


def sections(kind: type[Any], doc: str) -> Any:
    """A field that is a list of sections."""
    return dataclasses.field(default=(), metadata={"sections": kind, "doc": doc})


class Flag(NamedTuple):
    """A command line flag that sets a value. name: without dashes; variable: its twin in the environment."""

    name: str
    variable: str
    path: tuple[str, ...]
    setting: Setting


def settings_of(
    model: type[Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dataclasses.Field[Any]]]:
    """Every setting below a model with its path, in the order of the file; a list's entries under `[]`."""
    for field in dataclasses.fields(model):
        here = (*path, field.name)
        if "section" in field.metadata:
            yield from settings_of(field.metadata["section"], here)
        elif "sections" in field.metadata:
            yield from settings_of(field.metadata["sections"], (*path, f"{field.name}[]"))
        else:
            yield here, field


def differences(one: Any, other: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted names of the settings that differ between two values of one section; a list of sections is one."""
    for field in dataclasses.fields(one):
        here = (*path, field.name)
        left, right = getattr(one, field.name), getattr(other, field.name)
        if "section" in field.metadata:
            yield from differences(left, right, here)
        elif left != right:
            yield ".".join(here)


def flags_of(model: type[Any]) -> dict[str, Flag]:
    """flag name -> Flag, for every setting of a model that has a flag; a parser can be built from it."""
    found = {}
    for path, field in settings_of(model):
        known: Setting = field.metadata["setting"]
        if known.flag:
            found[known.flag] = Flag(known.flag, variable_of(known.flag), path, known)
    return found


def variable_of(flag: str) -> str:
    """`broker-addr` -> `TQ_BROKER_ADDR`"""
    return ENVIRONMENT_PREFIX + flag.replace("-", "_").upper()
