"""A configuration file as YAML nodes, which know their lines; bounded in every direction.

Nothing is constructed from the YAML: `yaml.load` is not used, tags mean nothing, so a file can neither make
objects nor, by aliases, grow in memory.

In `{port: ${PORT}}` YAML would take the braces of the reference for a map. References are therefore hidden while
YAML reads, character for character, so that lines and columns stay right, and shown again by `text_of`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from tq.config.problems import ConfigProblems, Place, Problem, problem_at

FILE_BYTES_MAX = 256 * 1024
"""A thousand keys fit ten times over; more is not a configuration, and PyYAML takes seconds for it."""
ALIASES_MAX = 100
DEPTH_MAX = 20
TABS_SHOWN_MAX = 20

_MEANT_FOR_YAML = '{}[],:# &*?|>%@`"'
_HIDDEN = "".join(chr(0xE000 + position) for position in range(len(_MEANT_FOR_YAML)))
_HIDE = str.maketrans(_MEANT_FOR_YAML, _HIDDEN)
_SHOW = str.maketrans(_HIDDEN, _MEANT_FOR_YAML)
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}\n\"']*)?\}")


def read_document(file: str) -> yaml.Node | None:
    """The file's top node, None for an empty file. Raises ConfigProblems."""
    return parse_document(_read(file), file)


def parse_document(text: str, file: str) -> yaml.Node | None:
    """The same from text. Raises ConfigProblems."""
    stray = re.search(f"[{_HIDDEN}]", text) or yaml.reader.Reader.NON_PRINTABLE.search(text)
    if stray:
        place = _place_at(text, stray.start(), file)
        raise _refusal(place, f"the character U+{ord(stray[0]):04X} is not allowed", "take it out")
    loader = _Loader(_REFERENCE.sub(lambda match: match[0].translate(_HIDE), text))
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigProblems(_syntax_problems(error, text, file)) from error
    finally:
        loader.dispose()


def text_of(node: yaml.ScalarNode) -> str:
    """What was written, references included."""
    return str(node.value).translate(_SHOW)


def place_of(node: yaml.Node, file: str) -> Place:
    return Place(file, node.start_mark.line + 1, node.start_mark.column + 1)


def is_null(node: yaml.Node) -> bool:
    """`key:` with nothing, `null` or `~`; a quoted "null" is a text."""
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null" and not node.style


class _Loader(yaml.SafeLoader):
    """YAML to nodes, with a bound on aliases and on depth (the composer recurses)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._aliases = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._aliases += 1
        if self._aliases > ALIASES_MAX:
            raise _Bound(f"more than {ALIASES_MAX} aliases", event.start_mark, "write the values out")
        if self._depth >= DEPTH_MAX:
            raise _Bound(
                f"nested deeper than {DEPTH_MAX}", event.start_mark, "two or three levels are all there is"
            )
        if getattr(event, "tag", None) not in (None, "!"):
            raise _Bound(
                f"the tag {event.tag}", event.start_mark, "take the tag out; the type follows from the key"
            )
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Bound(yaml.MarkedYAMLError):
    """Something that YAML allows and this reader does not."""

    def __init__(self, text: str, mark: yaml.Mark, remedy: str) -> None:
        super().__init__(problem=f"it has {text}", problem_mark=mark)
        self.remedy = remedy


def _read(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror or error}"
        raise _refusal(Place(file), text, "name a file that this user may read") from error
    if len(content) > FILE_BYTES_MAX:
        raise _refusal(
            Place(file), f"is larger than {FILE_BYTES_MAX} bytes", "a configuration is a few kilobytes"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(Place(file, line, 1), "is not UTF-8 text", "save the file as UTF-8") from error


def _refusal(place: Place, text: str, remedy: str) -> ConfigProblems:
    return ConfigProblems([problem_at(place, "", text, remedy)])


def _place_at(text: str, position: int, file: str) -> Place:
    return Place(file, text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1) + 1)


def _syntax_problems(error: yaml.MarkedYAMLError, text: str, file: str) -> list[Problem]:
    mark = error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    said = (error.problem or "cannot be read").translate(_SHOW)
    if "'\\t'" in said:
        return _tab_problems(text, file) or [problem_at(place, "", "a tab", "indent with spaces")]
    if isinstance(error, _Bound):
        return [problem_at(place, "", said, error.remedy)]
    context = f" ({error.context.translate(_SHOW)})" if error.context else ""
    return [problem_at(place, "", f"this is not YAML: {said}{context}", _syntax_remedy(said + context))]


def _tab_problems(text: str, file: str) -> list[Problem]:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r" *\t\s*\S", line)]
    return [
        problem_at(Place(file, number, 1), "", "a tab in the indentation", "indent with spaces")
        for number in lines[:TABS_SHOWN_MAX]
    ]


def _syntax_remedy(said: str) -> str:
    if "a single document" in said:
        return "keep one document in the file, without a second ---"
    if "mapping values are not allowed" in said:
        return "check the indentation, and put quotes round a value that holds a colon"
    return "check the indentation, colons, quotes and brackets at this line and the one above"
