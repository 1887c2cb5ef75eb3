"""Setting a damaged data directory's content aside, so that the node can be rebuilt from its peers."""

from __future__ import annotations

import shutil
from pathlib import Path

from tq.broker.rocksdb.files import sync_directory, write_durably
from tq.broker.storage.data_dir import FORMAT, LOCK_NAME, MARKER_NAME, Marker, pack_marker, read_marker
from tq.clock import Clock
from tq.errors import StoreDamaged
from tq.ids import new_id, to_text

ASIDE_PREFIX = "damaged-"
ASIDE_MAX = 2
"""Kept; older ones go, so that a disk that fails again and again does not fill itself."""


def set_aside(directory: Path, clock: Clock) -> Path | None:
    """Move everything in the data directory into one of its own within it, and begin a new disk generation.

    None, and nothing done, for a directory that was never used: what is damaged there is not data. To be called with
    the directory locked. A crash on the way leaves what is to be done again. Raises OSError, Unsupported.
    """
    try:
        marker = read_marker(directory)
    except StoreDamaged:
        marker = None
    if marker is not None and marker.is_new:
        return None
    generation = 2 if marker is None else marker.disk_generation + 1
    uuid = to_text(new_id()) if marker is None else marker.node_uuid
    aside = directory / f"{ASIDE_PREFIX}{generation - 1}"
    aside.mkdir(exist_ok=True)
    # The peers' book stays: who they are is not in doubt, and a node that knows nobody would believe everybody.
    stays = {LOCK_NAME, MARKER_NAME, "peers.json"}
    for path in sorted(directory.iterdir()):
        if path.name not in stays and not path.name.startswith(ASIDE_PREFIX):
            path.rename(aside / path.name)
    sync_directory(aside)
    begun = Marker(FORMAT, uuid, generation, clock.now_ms(), is_new=True)
    write_durably(directory / MARKER_NAME, pack_marker(begun))
    _forget_older(directory)
    return aside


def _forget_older(directory: Path) -> None:
    kept = [path for path in directory.iterdir() if path.name.startswith(ASIDE_PREFIX)]
    kept.sort(key=lambda path: int(path.name.removeprefix(ASIDE_PREFIX)))
    for path in kept[:-ASIDE_MAX]:
        shutil.rmtree(path)
