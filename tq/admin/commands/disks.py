"""backup, restore, verify. A backup is made by the broker; the other two work on a disk without one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tq import documents
from tq.admin import backups, offline, tables, words
from tq.admin.layout import Facts, Lines, Part
from tq.admin.progress import progress
from tq.admin.screen import Result, show
from tq.admin.session import Options, changing, options_of, refuse, refuse_watch, say

DAMAGES_SHOWN_MAX = 100


def backup(
    context: typer.Context,
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A directory on the broker's disk that is not there yet.")
    ],
) -> None:
    """Write a consistent copy of all tasks, on the broker's own disk, while it works."""
    options = options_of(context)
    with changing(options) as client:
        # The broker's working directory is nobody's business; with the broker elsewhere the path is still its own.
        reply = client.backup(os.path.abspath(directory))
    show(Result(documents.of_backup(reply), tables.of_backup(reply)), options)


def verify(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A backup, or the data directory of a stopped broker.")
    ],
) -> None:
    """Read every byte of a backup or of a data directory and say what is damaged. Exit code 1 if anything is."""
    options = options_of(context)
    refuse_watch(options)
    if not directory.is_dir():
        raise refuse(f"{directory} is not a directory")
    # Hashes show that nothing changed since the backup was made, the rows that it was whole when it was made.
    found = _damages(_read(directory)) if backups.is_backup(directory) else []
    found = found or _damages_of_rows(directory)
    _show_verdict(directory, found, options)
    if found:
        raise refuse(f"{directory} is damaged")


def restore(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The backup.")],
    data_dir: Annotated[
        Path, typer.Option("--data-dir", metavar="D", help="The new data directory, empty or absent.")
    ] = Path("data"),
) -> None:
    """Make a data directory from a backup, after checking it. A broker started on it has the backup's tasks."""
    options = options_of(context)
    refuse_watch(options)
    found = _read(directory)
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise refuse(
            f"{data_dir} is not empty; nothing was changed. Name a directory that is empty or not there yet"
        )
    damages = _damages(found)
    if damages:
        _show_verdict(directory, damages, options)
        raise refuse(f"{directory} is damaged; nothing was restored")
    try:
        with progress("copying", found.size) as advance:
            backups.copy(found, data_dir, advance)
        offline.begin_behind(data_dir, found.log_index)
    except (OSError, backups.NotABackup, offline.OfflineFailed) as error:
        raise refuse(f"{error}; {data_dir} is not complete, remove it") from error
    document: documents.Document = {
        "data_dir": str(data_dir),
        "index": found.log_index,
        "files": len(found.files),
        "bytes": found.size,
    }
    facts = [
        ("data directory", str(data_dir)),
        ("log index", words.number(found.log_index)),
        ("files", words.number(len(found.files))),
        ("size", words.size(found.size)),
    ]
    show(Result(document, [Facts(facts)]), options)


def _read(directory: Path) -> backups.Backup:
    try:
        return backups.read_backup(directory)
    except (OSError, backups.NotABackup) as error:
        raise refuse(str(error)) from error


def _damages(backup: backups.Backup) -> list[str]:
    with progress("verifying", backup.size) as advance:
        return list(backups.damages(backup, advance))


def _damages_of_rows(directory: Path) -> list[str]:
    try:
        return offline.damages(directory)
    except offline.OfflineFailed as error:
        raise refuse(str(error)) from error


def _show_verdict(directory: Path, damages: list[str], options: Options) -> None:
    shown = damages[:DAMAGES_SHOWN_MAX]
    if len(damages) > len(shown):
        say(f"tq-admin: {len(damages) - len(shown)} more damages are not shown")
    parts: list[Part] = [
        Facts([("directory", str(directory)), ("verdict", "damaged" if damages else "good")])
    ]
    if shown:
        parts.append(Lines("\n".join(shown), "damages"))
    document: documents.Document = {
        "directory": str(directory),
        "status": "damaged" if damages else "good",
        "damages": list(shown),
    }
    show(Result(document, parts), options)
