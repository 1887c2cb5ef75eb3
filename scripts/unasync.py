"""Makes the blocking client out of the async one, so that there is one source and no drift.

    python scripts/unasync.py           write the files
    python scripts/unasync.py --check   exit 1 if a file is not what would be written

The replacements are words and names, listed below; a rule that no longer applies to anything is an error too.
What truly differs (sockets, waits) is not made here: `link`/`sync_link` and `aio_waits`/`sync_waits` are written
by hand, with the same names in both.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MADE_FROM = {
    "tq/client/sync.py": "tq/client/aio.py",
    "tq/client/sync_channel.py": "tq/client/aio_channel.py",
    "tq/client/rustq/sync.py": "tq/client/rustq/aio.py",
}
"""made file -> its source."""

RULES = [
    (r"\basync def\b", "def"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[([\w.]+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\bAsyncClient\b", "Client"),
    (r"\bAsyncQueue\b", "Queue"),
    (r"\bAsyncWorker\b", "Worker"),
    (r"\brustq\.aio_home\b", "rustq.sync_home"),
    (r"\btq\.client\.link\b", "tq.client.sync_link"),
    (r"\baio_channel\b", "sync_channel"),
    (r"\baio_waits\b", "sync_waits"),
    (r"number of coroutines at once", "number of threads at once, and after a fork"),
]
"""(pattern, replacement), applied in order to the whole text."""

OPENING = re.compile(r'\A""".*?"""\n', re.DOTALL)
HEADER = '''"""The blocking {what}. Made from `{source}` by `scripts/unasync.py`; change that file and run the script."""
'''
WHAT = {
    "tq/client/sync.py": "client",
    "tq/client/sync_channel.py": "channel",
    "tq/client/rustq/sync.py": "Queue and Worker of rustq",
}


def main() -> int:
    """0 = written, or all as it should be; 1 = --check found a difference; its diff is shown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 if something would change"
    )
    check = parser.parse_args().check
    used: set[str] = set()
    stale = 0
    for made, source in MADE_FROM.items():
        wanted = make(made, source, used)
        path = ROOT / made
        found = path.read_text() if path.exists() else ""
        if wanted == found:
            continue
        stale += 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    found.splitlines(True), wanted.splitlines(True), made, f"made from {source}"
                )
            )
        else:
            path.write_text(wanted)
    unused = [pattern for pattern, _ in RULES if pattern not in used]
    if unused:
        sys.stderr.write(f"rules that apply to nothing: {', '.join(unused)}\n")
        return 1
    return 1 if check and stale else 0


def make(made: str, source: str, used: set[str]) -> str:
    """The text of the made file. used: gets the patterns that applied."""
    text = (ROOT / source).read_text()
    text, found = OPENING.subn(lambda _: HEADER.format(what=WHAT[made], source=source), text, count=1)
    if not found:
        raise SystemExit(f"{source} does not begin with a docstring")
    for pattern, replacement in RULES:
        text, count = re.subn(pattern, replacement, text)
        if count:
            used.add(pattern)
    return _formatted(text, made)


def _formatted(text: str, made: str) -> str:
    """Import order and line breaks as ruff has them: words that went away move both."""
    for arguments in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(ROOT / made), "-"]
        run = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
        if run.returncode:
            raise SystemExit(f"ruff could not format {made}: {run.stderr}")
        text = run.stdout
    return text


if __name__ == "__main__":
    raise SystemExit(main())
