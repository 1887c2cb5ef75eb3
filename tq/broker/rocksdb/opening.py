"""Opening RocksDB's files, and putting what rocksdict raises into our words."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from rocksdict import AccessType, Cache, DbClosedError, Rdict

from tq.broker.rocksdb.options import Family, database_options, family_options
from tq.errors import StoreDamaged

_DAMAGE = ("Corruption", "Invalid argument", "Not found", "Not implemented")
"""How RocksDB's messages about files it cannot make sense of begin. At open the last three mean that a flipped bit
named another comparator, file or feature; they do not occur on a database that is as we wrote it."""
_MISSING_FILE = "No such file or directory"
_NO_SPACE = "No space left on device"
_REMEDY = (
    "Change and delete nothing in there. In a cluster, move the data directory away and let the node be rebuilt "
    "from its peers; alone, restore a backup (tq-admin restore). 'tq-admin verify' lists all that is damaged."
)


def open_rdict(
    path: str, families: Sequence[Family], cache: Cache, *, create: bool = False, is_read_only: bool = False
) -> Rdict:
    """Open with exactly these families. Raises StoreDamaged, or OSError when the database is in use or unreadable."""
    access = AccessType.read_only(False) if is_read_only else AccessType.read_write()
    try:
        return Rdict(
            path,
            database_options(create=create),
            column_families={f.name: family_options(f, cache, create=create) for f in families},
            access_type=access,
        )
    except Exception as error:
        raise mapped(error, path) from error


def mapped(error: Exception, path: str) -> Exception:
    """What to raise instead of something rocksdict raised: StoreDamaged or an OSError."""
    if isinstance(error, (StoreDamaged, OSError)):
        return error
    text = str(error)
    if isinstance(error, DbClosedError):
        return OSError(errno.EBADF, "the database is closed", path)
    if text.startswith(_DAMAGE) or _MISSING_FILE in text:
        return StoreDamaged(f"{path} is damaged: {text}")
    return OSError(errno.ENOSPC if _NO_SPACE in text else errno.EIO, text, path)


def damaged(what: str) -> StoreDamaged:
    """The error for damage found at start: what it is, and what to do."""
    return StoreDamaged(f"{what}. {_REMEDY}")
