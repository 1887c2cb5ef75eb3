"""What nodes say to each other, as values and as bytes.

A frame is a msgpack list: a number for the kind, then the fields in order. Reading is total: bytes that are not one of
these messages, with every field of its type and within its bounds, raise ProtocolError, and nothing is ever
unpickled. `term` is always the sender's own at the moment of sending. `seq` numbers what a leader sends to all its
peers together; an answer echoes the number of what it answers.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, get_type_hints

import msgpack

from tq.errors import ProtocolError

INDEX_MAX = 2**63 - 1
TERM_MAX = 2**62
"""A term a peer may claim. At one election a millisecond it lasts for a hundred million years."""
DIGEST_BYTES = 32
TEXT_CHARS_MAX = 300
APPEND_ENTRIES_MAX = 256
"""Entries of one message: bounds how long making or taking it holds the loop."""
APPEND_BYTES_MAX = 1024 * 1024
"""Their data; a single larger entry travels alone."""
ENTRY_BYTES_MAX = 40 * 1024 * 1024
"""The engine's entries are of 16 MiB, or of one larger request (a frame of its own limit)."""
CHUNK_BYTES_MAX = 512 * 1024
"""A piece of a snapshot: small beside what a link carries within a heartbeat."""
FRAME_BYTES_MAX = ENTRY_BYTES_MAX + 64 * 1024


class Append(NamedTuple):
    """Entries behind prev_index, each (term, data), numbered from prev_index + 1; none = is prev really your last?

    prev_crc: the checksum chain up to prev, which equal (index, term) must share. commit: the leader's.
    """

    term: int
    seq: int
    prev_index: int
    prev_term: int
    prev_crc: int
    commit: int
    entries: tuple[tuple[int, bytes], ...]


class Beat(NamedTuple):
    """I lead. commit: at most what this leader knows the follower to hold."""

    term: int
    seq: int
    commit: int


class Ack(NamedTuple):
    """Answer to Append, Beat and SnapshotChunk.

    is_match: everything below next_index is as the leader has it, and durable. is_reject: it is not, go back to
    next_index. Neither: I heard you.
    """

    term: int
    seq: int
    next_index: int
    is_match: bool
    is_reject: bool


class VoteRequest(NamedTuple):
    """is_transfer: the leader itself asked the sender to stand."""

    term: int
    last_index: int
    last_term: int
    is_transfer: bool


class Vote(NamedTuple):
    """For the one it is sent to, in this term. A refusal is silence, or a TermNotice."""

    term: int


class PreVoteRequest(NamedTuple):
    """Would you vote for me in a term after `term`? round: echoed."""

    term: int
    round: int
    last_index: int
    last_term: int


class PreVote(NamedTuple):
    term: int
    round: int
    is_granted: bool


class TermNotice(NamedTuple):
    """Your term is over; this is mine."""

    term: int


class TimeoutNow(NamedTuple):
    """Stand for election at once: I, the leader, hand over."""

    term: int


class Voucher(NamedTuple):
    """I hear `leader`, and a committed configuration says that `disk` is its own: you may follow it (see `trust`)."""

    term: int
    leader: str
    disk: str


class SnapshotChunk(NamedTuple):
    """A piece of the snapshot that ends with entry (last_index, last_term, crc), is `size` bytes long and has this digest.

    members: the configuration as of that entry. An empty piece asks how far the receiver is.
    """

    term: int
    seq: int
    last_index: int
    last_term: int
    crc: int
    size: int
    digest: bytes
    members: bytes
    offset: int
    data: bytes


class SnapshotAck(NamedTuple):
    """Of the snapshot that ends with entry `last_index` I hold everything before offset. An Ack tells that it is installed."""

    term: int
    seq: int
    last_index: int
    offset: int


Message: TypeAlias = (
    Append
    | Beat
    | Ack
    | VoteRequest
    | Vote
    | PreVoteRequest
    | PreVote
    | TermNotice
    | TimeoutNow
    | SnapshotChunk
    | SnapshotAck
    | Voucher
)

_KINDS: dict[int, type[Any]] = {
    1: Append,
    2: Beat,
    3: Ack,
    4: VoteRequest,
    5: Vote,
    6: PreVoteRequest,
    7: PreVote,
    8: TermNotice,
    9: TimeoutNow,
    10: SnapshotChunk,
    11: SnapshotAck,
    12: Voucher,
}
"""Numbers are never given to another kind."""
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_BOUNDS = {"term": TERM_MAX, "prev_term": TERM_MAX, "last_term": TERM_MAX}
_FIELDS: dict[int, tuple[tuple[str, object, int], ...]] = {
    number: tuple((name, hint, _BOUNDS.get(name, INDEX_MAX)) for name, hint in get_type_hints(kind).items())
    for number, kind in _KINDS.items()
}


def pack_message(message: Message) -> bytes:
    packed: bytes = msgpack.packb((_NUMBERS[type(message)], *message))
    return packed


def unpack_message(frame: bytes) -> Message:
    """Raises ProtocolError."""
    try:
        fields = msgpack.unpackb(
            frame,
            use_list=False,
            max_array_len=APPEND_ENTRIES_MAX + 16,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=TEXT_CHARS_MAX,
            max_bin_len=ENTRY_BYTES_MAX,
        )
    except Exception as error:  # noqa: BLE001  what msgpack raises for hostile bytes is not one class
        raise ProtocolError(f"a peer's frame of {len(frame)} bytes is not msgpack") from error
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise ProtocolError("a peer's frame is not a message")
    rules = _FIELDS.get(fields[0])
    if rules is None:
        raise ProtocolError(f"a peer's frame is of kind {fields[0]}, which this release does not know")
    if len(fields) != len(rules) + 1:
        raise ProtocolError(f"a peer's message of kind {fields[0]} has {len(fields) - 1} fields")
    for value, (name, hint, most) in zip(fields[1:], rules, strict=True):
        if not _fits(value, hint, most):
            raise ProtocolError(f"field {name} of a peer's message of kind {fields[0]} is out of bounds")
    message: Message = _KINDS[fields[0]](*fields[1:])
    return message


def _fits(value: object, hint: object, most: int) -> bool:
    if hint is int:
        return type(value) is int and 0 <= value <= most
    if hint is bool or hint is bytes or hint is str:
        return type(value) is hint
    return type(value) is tuple and len(value) <= APPEND_ENTRIES_MAX and all(map(_is_entry, value))


def _is_entry(value: object) -> bool:
    return (
        type(value) is tuple
        and len(value) == 2
        and type(value[0]) is int
        and 0 <= value[0] <= TERM_MAX
        and type(value[1]) is bytes
    )
