"""Snapshots of the store: made from a checkpoint, sent as one stream, installed by starting again.

    DIR/snapshots/made/          the newest one made here; begins empty with every start
    DIR/snapshots/incoming/      info.json and the stream of the one being received; goes on after a restart
    DIR/snapshots/unpacked/      a received one, whole and durable
    DIR/snapshots/install.json   unpacked/ is to take the place of DIR/store
    DIR/snapshots/installed.json what was installed last

A stream is a length (4 bytes), a msgpack list of (name, bytes), and the files one after the other. Nothing of the
running store is touched: when install.json is durable the process ends and starts again, and `finish_install` swaps
the directories before the store is opened. So an installation is a crash and a start, the best tested path there is,
and a power cut at any point of it leaves the old state or the new one.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgpack

from tq.broker.measures import no_time
from tq.broker.replication.ports import SnapshotInfo
from tq.broker.replication.records import Link
from tq.broker.rocksdb.files import sync_directory, write_durably
from tq.errors import StoreDamaged
from tq.logs import get_logger

_log = get_logger("raft")

Result = TypeVar("Result")

NAME = "snapshots"
FILES_MAX = 100_000
BLOCK_BYTES = 1024 * 1024
_LENGTH_BYTES = 4

Checkpointed = Callable[[int | Exception], None]


class Piece(NamedTuple):
    """Bytes of a stream: of a file, or (path None) the header. offset: where in the stream they begin."""

    path: Path | None
    offset: int
    size: int


class _Made(NamedTuple):
    info: SnapshotInfo
    header: bytes
    pieces: list[Piece]


class StoreSnapshots:
    """Serves `ports.Snapshots`. Hashing and unpacking are done on a thread of their own, beside the disk thread."""

    def __init__(
        self,
        directory: Path,
        loop: AbstractEventLoop,
        *,
        checkpoint: Callable[[str, Checkpointed], None],
        link: Callable[[int], Link],
        members: Callable[[int], bytes],
        restart: Callable[[], None],
        on_fatal: Callable[[BaseException], None],
        wake_up: Callable[[], None],
        elapsed_ns: Callable[[], int] = no_time,
    ) -> None:
        """elapsed_ns: a monotonic clock for `age_ms`. directory: the data directory. checkpoint(directory, done): copy the store, done gets the entry it ends with.

        link, members: of an entry that is held. restart: end this process and start it again; called once an
        installation is durable. wake_up: something changed that the core should look at.
        """
        self._root = directory / NAME
        self._loop = loop
        self._checkpoint = checkpoint
        self._link = link
        self._members = members
        self._restart = restart
        self._on_fatal = on_fatal
        self._wake_up = wake_up
        self._thread = ThreadPoolExecutor(1, "tq-snapshots")
        self._made: _Made | None = None
        self._elapsed_ns = elapsed_ns
        self._made_ns = 0
        self._is_making = False
        self._is_closed = False
        shutil.rmtree(self._root / "made", ignore_errors=True)
        (self._root / "made").mkdir(parents=True)

    # ------------------------------------------------------------ sending

    def newest(self) -> SnapshotInfo | None:
        return self._made.info if self._made is not None else None

    @property
    def age_ms(self) -> int:
        """Of the newest one made here, -1 = none since the start."""
        return -1 if self._made is None else (self._elapsed_ns() - self._made_ns) // 1_000_000

    def make(self) -> None:
        if self._is_making or self._is_closed:
            return
        self._is_making = True
        self._made = None
        target = self._root / "made" / "store"
        shutil.rmtree(target, ignore_errors=True)
        self._checkpoint(str(target), lambda result: self._checkpointed(target, result))

    def _checkpointed(self, target: Path, result: int | Exception) -> None:
        if isinstance(result, Exception):
            self._on_fatal(result)
            return
        link, members = self._link(result), self._members(result)
        self._run(lambda: _describe(target, link, members), self._described)

    def _described(self, made: _Made) -> None:
        self._is_making = False
        self._made, self._made_ns = made, self._elapsed_ns()
        self._wake_up()

    def read(self, info: SnapshotInfo, offset: int, bytes_max: int) -> bytes:
        made = self._made
        if made is None or made.info != info:
            return b""
        for piece in made.pieces:
            if piece.offset <= offset < piece.offset + piece.size:
                start = offset - piece.offset
                count = min(bytes_max, piece.size - start)
                if piece.path is None:
                    return made.header[start : start + count]
                with piece.path.open("rb") as file:
                    file.seek(start)
                    return file.read(count)
        return b""

    # ------------------------------------------------------------ receiving

    def begin(self, info: SnapshotInfo) -> int:
        incoming = self._root / "incoming"
        if _read_info(incoming / "info.json") == info:
            stream = incoming / "stream"
            return min(stream.stat().st_size, info.size) if stream.exists() else 0
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        write_durably(incoming / "info.json", _pack_info(info))
        return 0

    def write(self, info: SnapshotInfo, offset: int, data: bytes) -> None:
        with (self._root / "incoming" / "stream").open("ab") as file:
            if file.tell() != offset:
                raise AssertionError(f"a piece for {offset} after {file.tell()} bytes of a snapshot")
            file.write(data)

    def install(self, info: SnapshotInfo, done: Callable[[bool], None]) -> None:
        def ended(is_whole: bool) -> None:
            if is_whole:
                self._restart()
            else:
                _log.error(
                    "snapshot_damaged",
                    f"the snapshot of entry {info.link.index} that was received does not match its digest, and is thrown "
                    "away; its sender makes another one: look at both disks",
                    index=info.link.index,
                )
                done(False)
                self._wake_up()

        self._run(lambda: _unpack(self._root, info), ended)

    def close(self) -> None:
        """Wait for what the thread is doing. Calling it twice is allowed."""
        self._is_closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Callable[[], Result], done: Callable[[Result], None]) -> None:
        """Do it on the thread and call done on the loop; what it raises is fatal."""

        def ended(future: Future[Result]) -> None:
            if not future.cancelled():
                self._loop.call_soon_threadsafe(finished, future)

        def finished(future: Future[Result]) -> None:
            error = future.exception()
            if self._is_closed:
                return
            if error is not None:
                self._on_fatal(error)
            else:
                done(future.result())

        if not self._is_closed:
            self._thread.submit(job).add_done_callback(ended)


def finish_install(directory: Path) -> tuple[Link, bytes] | None:
    """Put an unpacked snapshot in the place of the store, if one waits; (last entry, configuration) of the one
    installed last, None when none ever was.

    To be called with the data directory locked and before its store is opened. Raises StoreDamaged, OSError.
    """
    root = directory / NAME
    waiting = _read_info(root / "install.json")
    if waiting is not None:
        store, unpacked, old = directory / "store", root / "unpacked", root / "old"
        if unpacked.exists():
            if store.exists():
                shutil.rmtree(old, ignore_errors=True)
                store.rename(old)
            unpacked.rename(store)
            sync_directory(directory)
            sync_directory(root)
        write_durably(root / "installed.json", _pack_info(waiting))
        (root / "install.json").unlink()
        sync_directory(root)
        for name in ("old", "incoming"):
            shutil.rmtree(root / name, ignore_errors=True)
    installed = _read_info(root / "installed.json")
    return (installed.link, installed.members) if installed is not None else None


def _describe(target: Path, link: Link, members: bytes) -> _Made:
    """Read a checkpoint once, for its digest."""
    files = sorted(path for path in target.rglob("*") if path.is_file())
    names = [(str(path.relative_to(target)), path.stat().st_size) for path in files]
    listing = msgpack.packb(names)
    header = len(listing).to_bytes(_LENGTH_BYTES, "big") + listing
    digest = sha256(header)
    pieces = [Piece(None, 0, len(header))]
    for path, (_, size) in zip(files, names, strict=True):
        pieces.append(Piece(path, pieces[-1].offset + pieces[-1].size, size))
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    size = pieces[-1].offset + pieces[-1].size
    return _Made(SnapshotInfo(link, size, digest.digest(), members), header, pieces)


def _unpack(root: Path, info: SnapshotInfo) -> bool:
    """Verify the stream that was received and make it a directory; durable, and said to be so last. False: it does
    not match its digest, and is gone."""
    stream = root / "incoming" / "stream"
    digest = sha256()
    with stream.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    if digest.digest() != info.digest or stream.stat().st_size != info.size:
        shutil.rmtree(root / "incoming")
        return False
    target = root / "unpacked"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with stream.open("rb") as file:
        listing = file.read(int.from_bytes(file.read(_LENGTH_BYTES), "big"))
        for name, size in msgpack.unpackb(listing, max_array_len=FILES_MAX):
            _unpack_file(target, name, size, file.read)
    for directory in sorted({path.parent for path in target.rglob("*")} | {target}):
        sync_directory(directory)
    sync_directory(root)
    write_durably(root / "install.json", _pack_info(info))
    return True


def _unpack_file(target: Path, name: str, size: int, read: Callable[[int], bytes]) -> None:
    path = target / name
    # The sender has proved itself, and still may not write outside.
    if not path.resolve().is_relative_to(target.resolve()):
        raise StoreDamaged(f"a snapshot names a file outside of it: {name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while size > 0:
            block = read(min(size, BLOCK_BYTES))
            if not block:
                raise StoreDamaged(f"a snapshot ends within {name!r}")
            file.write(block)
            size -= len(block)
        file.flush()
        os.fsync(file.fileno())


def _pack_info(info: SnapshotInfo) -> bytes:
    link = info.link
    fields = [link.index, link.term, link.crc, info.size, info.digest.hex(), info.members.hex()]
    return json.dumps({"snapshot": fields, "crc32": zlib.crc32(repr(fields).encode())}).encode()


def _read_info(path: Path) -> SnapshotInfo | None:
    """None when there is no such file. Raises StoreDamaged."""
    try:
        document = json.loads(path.read_bytes())
        fields = document["snapshot"]
        if document["crc32"] != zlib.crc32(repr(fields).encode()):
            raise ValueError("checksum")
        index, term, crc, size, digest, members = fields
        return SnapshotInfo(Link(index, term, crc), size, bytes.fromhex(digest), bytes.fromhex(members))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(
            f"{path} is damaged: move the data directory away and let the node be rebuilt"
        ) from error
