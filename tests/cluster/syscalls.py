"""What strace saw a broker write, send and sync: when, and which bytes.

Stamps are taken while the traced thread stands still: before a call begins, and after it has returned and before the
thread goes on. So a call began no earlier than `began` and had ended by `ended`, on the clock that all processes of
a machine share, and "this call had ended before that one began" can be said of calls of two processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STRACE = (
    *(
        "strace",
        "--follow-forks",
        "--seccomp-bpf",
        "--absolute-timestamps=format:unix,precision:us",
        "--syscall-times=us",
    ),
    *("--decode-fds=all", "--strings-in-hex=non-ascii", "--string-limit=1048576", "--quiet=all"),
    *("--signal=none", "--trace=write,pwrite64,writev,sendto,sendmsg,fsync,fdatasync", "--output"),
)
"""Followed by the file to write to, and the command."""

_LINE = re.compile(r"^(\d+)\s+(\d+\.\d+) (.*)$")
_CALL = re.compile(r"^(\w+)\(\d+<(.*?)>(?:[,)]|$)")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>")
_RESULT = re.compile(r"= (-?\d+|\?)(?: [^<]*)?<(\d+\.\d+)>$")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')
UNFINISHED = "<unfinished ...>"


class Call(NamedTuple):
    """One system call. target: the path of a file, or `TCP:[local->remote]`. data: as much as was taken."""

    name: str
    target: str
    data: bytes
    result: int
    began: float
    ended: float

    @property
    def is_sync(self) -> bool:
        return self.name in ("fsync", "fdatasync")


def calls(path: Path) -> Iterator[Call]:
    """In the order in which they returned."""
    begun: dict[str, tuple[float, str]] = {}
    with path.open(encoding="latin-1") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            thread, stamp, text = found.groups()
            if text.endswith(UNFINISHED):
                begun[thread] = (float(stamp), text.removesuffix(UNFINISHED))
                continue
            began = float(stamp)
            if _RESUMED.match(text):
                began, start = begun.pop(thread)
                text = start + _RESUMED.sub("", text)
            call = _call(text, began)
            if call is not None:
                yield call


def _call(text: str, began: float) -> Call | None:
    """None for one that failed, or that is of no file or socket."""
    call, result = _CALL.match(text), _RESULT.search(text)
    if call is None or result is None or not result[1].isdecimal():
        return None
    strings = _STRING.findall(text[call.end() :])
    assert not any(cut for _, cut in strings), f"strace cut a string short: {text[:100]}"
    data = b"".join(_bytes(string) for string, _ in strings)
    taken = int(result[1])
    return Call(call[1], call[2], data[:taken], taken, began, began + float(result[2]))


def _bytes(string: str) -> bytes:
    return string.encode("latin-1").decode("unicode_escape").encode("latin-1")
