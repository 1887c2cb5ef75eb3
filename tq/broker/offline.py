"""What can be done to a data directory while no broker runs: `python -m tq.broker.offline COMMAND ...`.

    verify DIR               read all of a data directory, backup or checkpoint
    digest DIR               hash what the store holds, table by table, to compare it with another node's
    begin-behind DIR INDEX   make an empty data directory whose log goes on behind entry INDEX of a restored store

For programs (`tq-admin` is one, and does not import the broker): prints one JSON object a line, the last of which
has `event` = verified, digested, begun or refused. Exit code 0, or 1 after `refused`, or 2 for wrong arguments.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tq.broker.digests import digest_directory
from tq.broker.replication.journal import Journal
from tq.broker.replication.local import TERM
from tq.broker.replication.records import Link
from tq.broker.storage.data_dir import DataDir
from tq.broker.verify import verify_directory
from tq.clock import SystemClock
from tq.errors import TqError


def verify(path: str) -> None:
    report = verify_directory(path, lambda place, rows: _say("progress", place=place, rows=rows))
    _say("verified", rows=report.rows, damages=report.damage)


def digest(path: str) -> None:
    found = digest_directory(path)
    _say("digested", index=found.index, tables=found.tables)


def begin_behind(path: str, index: int) -> None:
    directory = DataDir.open(path, SystemClock())
    try:
        journal = Journal.open(directory.journal_path, create=True)
        journal.reset(Link(index, TERM, 0))
        journal.close()
    finally:
        directory.close()
    _say("begun", index=index)


def main(arguments: Sequence[str]) -> int:
    try:
        if len(arguments) == 2 and arguments[0] == "verify":
            verify(arguments[1])
        elif len(arguments) == 2 and arguments[0] == "digest":
            digest(arguments[1])
        elif len(arguments) == 3 and arguments[0] == "begin-behind" and arguments[2].isdecimal():
            begin_behind(arguments[1], int(arguments[2]))
        else:
            sys.stderr.write(__doc__ or "")
            return 2
    except (TqError, OSError) as error:
        _say("refused", text=str(error))
        return 1
    return 0


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
