"""The kinds of value a setting can have: how each is read from text, and what to say when it cannot be.

A kind reads text, whether it stood in YAML, in a variable or on the command line: so `${PORT}` and "6379" are
as good as 6379, and `node_id: no` stays the text that was written.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ADDRESSES_MAX = 100
TEXT_CHARS_MAX = 4096

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*{_LABEL}|\[[0-9A-Fa-f:.]+\]")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_NOTHING = frozenset({"", "null", "none", "~"})


class Wrong(Exception):
    """A value that does not fit: what is wrong, and what would be right."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


class Peer(NamedTuple):
    """Another member of the cluster. node_id: the address itself when the file gave a plain list."""

    node_id: str
    address: str


class Kind(Protocol):
    """Reads one value from text."""

    @property
    def expected(self) -> str:
        """What would be right, for people: `a whole number from 0 to 65535`."""
        ...

    def read(self, text: str) -> object:
        """Raises Wrong."""
        ...


@dataclass(frozen=True)
class Integer:
    minimum: int
    maximum: int

    @property
    def expected(self) -> str:
        return f"a whole number from {self.minimum} to {self.maximum}"

    def read(self, text: str) -> int:
        # Python alone would also take digits of other scripts, and texts of any length.
        if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,18}", text):
            raise Wrong(f"{shown(text)} is not a whole number", f"give {self.expected}")
        number = int(text.replace("_", ""))
        if not self.minimum <= number <= self.maximum:
            side = "smaller" if number < self.minimum else "larger"
            bound = self.minimum if number < self.minimum else self.maximum
            raise Wrong(f"{number} is {side} than {bound}", f"give {self.expected}")
        return number


@dataclass(frozen=True)
class Number:
    minimum: float
    maximum: float

    @property
    def expected(self) -> str:
        return f"a number from {self.minimum:.12g} to {self.maximum:.12g}"

    def read(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not self.minimum <= number <= self.maximum:
            what = "is not a number" if math.isnan(number) else "is out of range"
            raise Wrong(f"{shown(text)} {what}", f"give {self.expected}")
        return number


@dataclass(frozen=True)
class Boolean:
    expected: str = "true or false"

    def read(self, text: str) -> bool:
        word = text.lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise Wrong(f"{shown(text)} is neither true nor false", f"give {self.expected}")


@dataclass(frozen=True)
class Choice:
    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.words)}"

    def read(self, text: str) -> str:
        if text.lower() in self.words:
            return text.lower()
        near = difflib.get_close_matches(text.lower(), self.words, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise Wrong(f"{shown(text)} is not a choice", f"{hint}give {self.expected}")


@dataclass(frozen=True)
class Text:
    """pattern: what the whole text must match; expected says it in words. secret: never shown."""

    expected: str = "a text"
    pattern: str = r"[^\x00-\x1f\x7f]+"
    secret: bool = False
    chars_max: int = TEXT_CHARS_MAX

    def read(self, text: str) -> str:
        if len(text) > self.chars_max:
            raise Wrong(f"it has {len(text)} characters", f"give at most {self.chars_max}")
        if not re.fullmatch(self.pattern, text):
            what = "the value" if self.secret else shown(text)
            raise Wrong(f"{what} does not fit", f"give {self.expected}")
        return text


@dataclass(frozen=True)
class Host:
    expected: str = "a host name or an address, such as 0.0.0.0, ::1 or broker-1"

    def read(self, text: str) -> str:
        bare = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
        if not _HOST.fullmatch(bare):
            raise Wrong(f"{shown(text)} is not a host", f"give {self.expected}")
        return text.strip("[]")


@dataclass(frozen=True)
class Address:
    expected: str = "host:port, such as broker-1:6379 or [::1]:6379"

    def read(self, text: str) -> str:
        host, colon, port = text.rpartition(":")
        if not colon or not _HOST.fullmatch(host):
            raise Wrong(f"{shown(text)} is not an address", f"give {self.expected}")
        Integer(0, 65535).read(port)
        return text


@dataclass(frozen=True)
class Listed:
    """Several values of one kind: a YAML list, or one text with commas between them."""

    item: Kind
    count_max: int = ADDRESSES_MAX
    separator: str = ","

    @property
    def expected(self) -> str:
        return f"a list, each {self.item.expected}"

    def read(self, text: str) -> tuple[object, ...]:
        return tuple(self.item.read(part.strip()) for part in text.split(self.separator) if part.strip())


NODE_ID = Text("letters, digits, dot, dash and underscore, at most 64", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PORT = Integer(0, 65535)
"""0 = the system chooses a free one."""
PATH = Text("a path")
ADDRESS = Address()


@dataclass(frozen=True)
class Peers:
    """A map from node id to host:port, or a plain list of host:port."""

    node_id: Text = NODE_ID
    address: Address = ADDRESS
    count_max: int = 15
    expected: str = "a map such as {node2: host2:7379, node3: host3:7379}, or a list of host:port"

    def read(self, text: str) -> tuple[Peer, ...]:
        raise Wrong(f"{shown(text)} is one value", f"give {self.expected}")


@dataclass(frozen=True)
class Optional:
    """A value that may be absent: null in YAML, `none` or `null` elsewhere. It is None then."""

    kind: Kind
    absent: str = "off"

    @property
    def expected(self) -> str:
        return f"{self.kind.expected}, or null"

    def read(self, text: str) -> object:
        return None if text.lower() in _NOTHING else self.kind.read(text)


def shown(text: str) -> str:
    """A value in a message: quoted, and cut when it is long."""
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."


_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{(?P<broken>[^}]*)"
)


def substituted(text: str, env: Mapping[str, str]) -> str:
    """The text with every `${NAME}` and `${NAME:-default}` replaced; `$${` stands for a plain `${`.

    An empty variable counts as set, except where a default is given, as in a shell.
    Raises Wrong for a variable that is not set and for a reference that cannot be read.
    """

    def value_of(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise Wrong(
                f"{shown(match[0])} is not a reference",
                "write ${NAME} or ${NAME:-default}, or $${ for a plain ${",
            )
        value = env.get(name)
        if default is not None:
            return value or default
        if value is None:
            raise Unset(
                f"the environment variable {name} is not set", f"set it, or write ${{{name}:-default}}"
            )
        return value

    return _REFERENCE.sub(value_of, text)


class Unset(Wrong):
    """A reference to a variable that does not exist."""
