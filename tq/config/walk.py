"""The walk over a file's nodes along the declared sections: values where they fit, problems where not."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import yaml

from tq.config.document import is_null, place_of, text_of
from tq.config.problems import Place, Problem, problem_at
from tq.config.settings import Setting, settings_of
from tq.config.values import Kind, Listed, Optional, Peer, Peers, Unset, Wrong, shown, substituted

Path: TypeAlias = tuple[str, ...]

KEYS_SHOWN_MAX = 12


@dataclasses.dataclass
class Found:
    """What a file, and later environment and flags, gave.

    values, places: by path, of what was given and read. bad: paths given, but wrong.
    """

    values: dict[Path, object] = dataclasses.field(default_factory=dict)
    places: dict[Path, Place] = dataclasses.field(default_factory=dict)
    bad: set[Path] = dataclasses.field(default_factory=set)
    problems: list[Problem] = dataclasses.field(default_factory=list)


class Walk:
    """One walk over one file. own: the top sections whose variables must be set."""

    def __init__(self, file: str, env: Mapping[str, str], own: frozenset[str]) -> None:
        self._file = file
        self._env = env
        self._own = own
        self._found = Found()
        self._home_of: dict[str, Path] = {}

    def document(self, model: type[Any], node: yaml.Node | None) -> Found:
        if node is not None and not is_null(node):
            self._home_of = _home_of(model)
            self._section(model, node, ())
        return self._found

    def _section(self, model: type[Any], node: yaml.Node, path: Path) -> None:
        fields = {field.name: field for field in dataclasses.fields(model)}
        for name, key, value in self._entries(node, path, fields):
            here = (*path, name)
            metadata = fields[name].metadata
            self._found.places[here] = place_of(key, self._file)
            if "section" in metadata:
                if not is_null(value):
                    self._section(metadata["section"], value, here)
            elif "sections" in metadata:
                self._sections(metadata["sections"], value, here)
            else:
                self._setting(metadata["setting"], value, here)

    def _entries(
        self, node: yaml.Node, path: Path, fields: Mapping[str, object]
    ) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """(name, key node, value node) of the keys that are known, each once."""
        if not isinstance(node, yaml.MappingNode):
            self._report(node, path, f"this is {_described(node)}", f"give a map with {_some(fields)}")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._report(key, path, f"{_described(key)} is not a key", f"give one of {_some(fields)}")
                continue
            name = text_of(key)
            if name in seen:
                first = seen[name]
                self._report(
                    key, (*path, name), f"this key stands in line {first} already", "keep one of them"
                )
            elif name not in fields:
                self._report(key, (*path, name), "this key is not known", self._remedy(name, path, fields))
            else:
                yield name, key, value
            seen.setdefault(name, key.start_mark.line + 1)

    def _remedy(self, name: str, path: Path, fields: Mapping[str, object]) -> str:
        if name == "<<":
            return "merging of maps is not supported; write the values out"
        plain = name.lower().replace("-", "_")
        near = difflib.get_close_matches(plain, fields, n=1, cutoff=0.6)
        if near:
            return f"did you mean {near[0]}?"
        home = self._home_of.get(plain)
        if home is not None and home != path:
            return f"it belongs under {'.'.join(home)}" if home else "it belongs at the top, not indented"
        return f"the nearest is {_nearest(plain, fields)}; known here: {_some(fields)}"

    def _sections(self, model: type[Any], node: yaml.Node, path: Path) -> None:
        """A list of sections: those without a problem become the value."""
        if is_null(node):
            return
        if not isinstance(node, yaml.SequenceNode):
            self._report(
                node, path, f"this is {_described(node)}", "give a list: one entry a line, each after a dash"
            )
            return
        made = [
            self._entry(model, item, (*path[:-1], f"{path[-1]}[{position}]"))
            for position, item in enumerate(node.value)
        ]
        if None not in made:
            self._found.values[path] = tuple(made)

    def _entry(self, model: type[Any], node: yaml.Node, path: Path) -> object | None:
        """One section of a list; None when it is not whole."""
        self._section(model, node, path)
        values = {
            key[-1]: self._found.values.pop(key) for key in list(self._found.values) if key[:-1] == path
        }
        needed = [field for field in dataclasses.fields(model) if field.default is dataclasses.MISSING]
        for field in needed:
            if isinstance(node, yaml.MappingNode) and (*path, field.name) not in self._found.places:
                known: Setting = field.metadata["setting"]
                self._report(node, (*path, field.name), "this is missing", f"give {known.kind.expected}")
        return model(**values) if all(field.name in values for field in needed) else None

    def _setting(self, setting: Setting, node: yaml.Node, path: Path) -> None:
        kind = setting.kind
        if is_null(node):
            if isinstance(kind, Optional):
                self._found.values[path] = None
            else:
                self._report(node, path, "it has no value", f"give {kind.expected}, or leave the line out")
            return
        inner = kind.kind if isinstance(kind, Optional) else kind
        before = len(self._found.problems)
        value = self._read(inner, node, path)
        if value is not _NOTHING and len(self._found.problems) == before:
            self._found.values[path] = value

    def _read(self, kind: Kind, node: yaml.Node, path: Path) -> object:
        if isinstance(kind, Peers) and not isinstance(node, yaml.ScalarNode):
            return self._peers(kind, node, path)
        if isinstance(kind, Listed) and isinstance(node, yaml.SequenceNode):
            return self._list(kind, node, path)
        if not isinstance(node, yaml.ScalarNode):
            self._report(node, path, f"this is {_described(node)}", f"give {kind.expected}")
            return _NOTHING
        return self._scalar(kind.read, node, path)

    def _list(self, kind: Listed, node: yaml.SequenceNode, path: Path) -> object:
        if len(node.value) > kind.count_max:
            self._report(node, path, f"it has {len(node.value)} entries", f"give at most {kind.count_max}")
            return _NOTHING
        read = [
            self._read(kind.item, item, (*path[:-1], f"{path[-1]}[{position}]"))
            for position, item in enumerate(node.value)
        ]
        return _NOTHING if _NOTHING in read else tuple(read)

    def _peers(self, kind: Peers, node: yaml.Node, path: Path) -> object:
        if len(node.value) > kind.count_max:
            self._report(node, path, f"it has {len(node.value)} entries", f"give at most {kind.count_max}")
            return _NOTHING
        peers = []
        seen: set[object] = set()
        for entry in node.value:
            name, address_node = entry if isinstance(node, yaml.MappingNode) else (None, entry)
            address = self._read(kind.address, address_node, path)
            node_id = self._read(kind.node_id, name, path) if name else address
            if node_id in seen and node_id is not _NOTHING:
                self._report(
                    name or address_node, path, f"{shown(str(node_id))} stands here twice", "keep one of them"
                )
            seen.add(node_id)
            peers.append((node_id, address))
        if any(_NOTHING in peer for peer in peers):
            return _NOTHING
        return tuple(Peer(str(node_id), str(address)) for node_id, address in peers)

    def _scalar(self, read: Callable[[str], object], node: yaml.ScalarNode, path: Path) -> object:
        try:
            return read(substituted(text_of(node), self._env))
        except Unset as unset:
            if path[0] in self._own:
                self._report(node, path, unset.text, unset.remedy)
            return _NOTHING
        except Wrong as wrong:
            self._report(node, path, wrong.text, wrong.remedy)
            return _NOTHING

    def _report(self, node: yaml.Node, path: Path, text: str, remedy: str) -> None:
        plain = tuple(part.partition("[")[0] for part in path)
        self._found.bad.update(plain[:length] for length in range(1, len(plain) + 1))
        self._found.problems.append(problem_at(place_of(node, self._file), ".".join(path), text, remedy))


_NOTHING = object()
"""Stands for a value that could not be read; None is a value."""


def _home_of(model: type[Any]) -> dict[str, Path]:
    """setting name -> the section it belongs to; names that stand in several sections are left out."""
    homes: dict[str, Path] = {}
    twice: set[str] = set()
    for path, _ in settings_of(model):
        *home, name = path
        if name in homes:
            twice.add(name)
        homes[name] = tuple(home)
    homes.update({field.name: () for field in dataclasses.fields(model)})
    return {name: home for name, home in homes.items() if name not in twice and "[" not in "".join(home)}


def _described(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a map"
    return "a list" if isinstance(node, yaml.SequenceNode) else "one value"


def _nearest(name: str, fields: Mapping[str, object]) -> str:
    return max(fields, key=lambda known: difflib.SequenceMatcher(None, name, known).ratio())


def _some(fields: Mapping[str, object]) -> str:
    names = list(fields)
    return ", ".join(names[:KEYS_SHOWN_MAX]) + (", ..." if len(names) > KEYS_SHOWN_MAX else "")
