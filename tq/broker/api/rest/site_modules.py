"""Which modules a page of the dashboard stands on: its first answer names them all, so that a browser asks for them at
once, and for no others. It would learn of each only from the one before, over a dozen round trips.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

_IMPORT = re.compile(rb"^(?:import|export)\b[^'\";]*'(\.{1,2}/[^'\"]+)'", re.MULTILINE)
"""As Prettier lays them out. What is imported later, by a call, is not needed for the page to be shown."""


def modules_of(files: Mapping[str, bytes], *entries: str) -> list[str]:
    """The entries that are there, and all they import, each after who asked for it first.

    files: path -> content; what an import names and is not there is left out: the browser will say so.
    """
    found: dict[str, None] = {}
    waiting = list(entries)
    for name in waiting:  # it grows while it is walked
        if name in found or name not in files:
            continue
        found[name] = None
        waiting += [_resolved(name, path.decode()) for path in _IMPORT.findall(files[name])]
    return list(found)


def _resolved(importer: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))
