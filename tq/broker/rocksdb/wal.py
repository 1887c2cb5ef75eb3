"""Reading RocksDB's write-ahead logs before RocksDB does, to see whether something between them is missing.

RocksDB checks the checksum of every record it replays, but under the mode that tolerates a torn end it also takes
the missing end of an *older* log for a crash, and goes on with the next log: a hole, and no word about it. Every
record begins with the sequence number of its first change (8 bytes) and the number of changes (4), so holes show:
each must begin where the one before ended. A log without records, or with a torn end, is no hole as long as what
follows goes on from there: that is what a full disk leaves.
"""

from __future__ import annotations

from struct import Struct

from tq.broker.rocksdb.files import wal_files
from tq.broker.rocksdb.framing import HEAD_BYTES, broken, records
from tq.errors import StoreDamaged

_HEAD = Struct("<QI")


def check_wals(directory: str, *, needed_from: int, manifest: int) -> None:
    """Raise StoreDamaged naming the log that is missing or does not go on where the one before ended.

    needed_from: the lowest log number the manifest still needs. manifest: the number of the manifest itself.
    """
    wals = [(number, path) for number, path in wal_files(directory) if number >= needed_from]
    # While a database is open the manifest names the oldest log there is. When it is opened it names the number
    # after the last log replayed, and the log made then is older than the manifest made then. A first log that is
    # neither shows that the manifest's end, which dropped the logs before it, is cut off.
    if not wals or (wals[0][0] != needed_from and wals[0][0] > manifest):
        raise StoreDamaged(
            f"{directory} is damaged: the manifest MANIFEST-{manifest:06d} needs the write-ahead logs from "
            f"{needed_from:06d}.log on, and the oldest is {wals[0][1].name if wals else 'missing'}; "
            "either logs are missing or the end of the manifest is"
        )
    expected = 0
    for number, path in wals:
        for head, stop in records(path):
            if len(head) < HEAD_BYTES:
                raise broken(path, stop, "a record is too short")
            sequence, changes = _HEAD.unpack(head)
            if sequence != expected and (expected or number != wals[0][0]):
                raise StoreDamaged(
                    f"{path} is damaged: write {sequence} follows where {expected or 'an older one'} should, "
                    "so writes between were lost, here or at the end of the log before"
                )
            expected = sequence + changes
