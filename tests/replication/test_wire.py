"""What comes over the Raft port before and after it is believed."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack
import pytest
import trustme
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replication.live import SECRET, until
from tq.broker.replication import messages as m
from tq.broker.replication.cluster import configuration_of, name_of, security_of
from tq.broker.replication.handshake import (
    NONCE_BYTES,
    Hello,
    check_proof,
    pack_hello,
    prove,
    unpack_hello,
)
from tq.broker.replication.membership import Configuration
from tq.broker.replication.peer_book import PeerBook
from tq.broker.replication.stream import PeerSecurity
from tq.broker.replication.transport import PeerTransport
from tq.config import Peer
from tq.config.models import RaftSection
from tq.errors import AuthenticationFailed, ProtocolError, StoreDamaged, Unsupported

EXAMPLES: list[m.Message] = [
    m.Append(1, 2, 3, 1, 7, 3, ((1, b"x"), (2, b""))),
    m.Beat(1, 2, 3),
    m.Ack(1, 2, 3, is_match=True, is_reject=False),
    m.VoteRequest(1, 2, 3, is_transfer=True),
    m.Vote(1),
    m.PreVoteRequest(1, 2, 3, 4),
    m.PreVote(1, 2, is_granted=False),
    m.TermNotice(9),
    m.TimeoutNow(9),
    m.SnapshotChunk(1, 2, 3, 1, 7, 100, b"d" * 32, b"members", 0, b"data"),
    m.SnapshotAck(1, 2, 3, 4),
    m.Voucher(1, "n1", "disk/2"),
]


def test_every_kind_of_message_survives_the_wire() -> None:
    assert {type(each) for each in EXAMPLES} == set(m._KINDS.values())
    for message in EXAMPLES:
        again = m.unpack_message(m.pack_message(message))
        assert again == message
        assert type(again) is type(message)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_message_or_a_protocol_error(frame: bytes) -> None:
    try:
        m.unpack_message(frame)
    except ProtocolError:
        return


_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=8) | st.text(max_size=8)
)
_values = _scalars | st.lists(st.lists(_scalars, max_size=3), max_size=3)


@given(st.sampled_from(EXAMPLES), st.dictionaries(st.integers(0, 12), _values, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_fields_are_a_message_with_all_of_them_in_bounds_or_a_protocol_error(
    example: m.Message, replaced: dict[int, object]
) -> None:
    frame = list(msgpack.unpackb(m.pack_message(example)))
    for place, value in replaced.items():
        frame[place : place + 1] = [value]
    try:
        message = m.unpack_message(msgpack.packb(frame))
    except ProtocolError:
        return
    assert m.pack_message(message) == msgpack.packb(frame)
    assert 0 <= message.term <= m.TERM_MAX


@pytest.mark.parametrize(
    "frame",
    [
        pickle.dumps({"type": "append_entries"}),
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 10_000,
        msgpack.packb([1, 1, 1, 1, 1, 1, 1, [[1, b""]] * (m.APPEND_ENTRIES_MAX + 1)]),
        msgpack.packb([2, -1, 1, 1]),
        msgpack.packb([2, True, 1, 1]),
        msgpack.packb([2, m.TERM_MAX + 1, 1, 1]),
        msgpack.packb({1: 2}),
    ],
    ids=[
        "pickle",
        "endless list",
        "endless bytes",
        "deep",
        "many entries",
        "negative",
        "a switch",
        "term",
        "a map",
    ],
)
def test_hostile_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        m.unpack_message(frame)


def test_proof_is_of_one_secret_one_side_and_these_hellos() -> None:
    proof = prove(SECRET, "dialler", b"a", b"b")
    check_proof(SECRET, "dialler", b"a", b"b", proof)
    for secret, side, dialler, listener in (
        ("another", "dialler", b"a", b"b"),
        (SECRET, "listener", b"a", b"b"),
        (SECRET, "dialler", b"A", b"b"),
        (SECRET, "dialler", b"a", b"B"),
    ):
        with pytest.raises(AuthenticationFailed):
            check_proof(secret, side, dialler, listener, proof)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_hello_or_a_protocol_error(frame: bytes) -> None:
    try:
        unpack_hello(frame)
    except ProtocolError:
        return


def test_node_is_believed_with_the_disk_it_came_with_first_and_after_a_restart(tmp_path: Path) -> None:
    PeerBook(tmp_path).check("n2", "disk/1")
    book = PeerBook(tmp_path)
    book.check("n2", "disk/1")
    with pytest.raises(AuthenticationFailed, match="another data directory"):
        book.check("n2", "disk/2")
    book.forget("n2")
    book.check("n2", "disk/2")


def test_damaged_peer_book_is_said_to_be_and_not_begun_anew(tmp_path: Path) -> None:
    PeerBook(tmp_path).check("n2", "disk/1")
    file = tmp_path / "peers.json"
    file.write_bytes(file.read_bytes().replace(b"disk/1", b"disk/9"))
    with pytest.raises(StoreDamaged):
        PeerBook(tmp_path)


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, int, object]] = []
        self.peers: list[tuple[str, int]] = []
        self.gone: list[tuple[str, int]] = []

    def connected(self, peer: str, epoch: int, disk: str) -> None:
        self.peers.append((peer, epoch))

    def disconnected(self, peer: str, epoch: int) -> None:
        self.gone.append((peer, epoch))

    def receive(self, peer: str, epoch: int, message: m.Message) -> None:
        self.heard.append((peer, epoch, message))


def transport(name: str, ears: Ears, secret: str = SECRET) -> PeerTransport:
    return PeerTransport(
        name,
        (f"uuid of {name}", 1),
        ears,
        PeerSecurity(secret),
        check_disk=lambda *_: True,
        client_address=lambda: f"{name}:6379",
    )


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    uvloop.run(bounded())


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_frames_arrive_in_order_and_a_new_stream_closes_the_older_one_first() -> None:
    async def test() -> None:
        ears_a, ears_b = Ears(), Ears()
        a, b, again = transport("a", ears_a), transport("b", ears_b), transport("a", Ears())
        host, port = await b.open("127.0.0.1", 0)
        a.set_peers([("b", f"{host}:{port}")])
        await until(lambda: bool(ears_a.peers) and bool(ears_b.peers))
        for message in EXAMPLES:
            a.send("b", message)
        await until(lambda: len(ears_b.heard) == len(EXAMPLES))
        assert [message for _, _, message in ears_b.heard] == EXAMPLES
        assert b.client_address("a") == "a:6379"
        again.set_peers([("b", f"{host}:{port}")])
        await until(lambda: len(ears_b.peers) >= 2)
        await until(lambda: ("a", 1) in ears_b.gone)
        assert [epoch for _, epoch in ears_b.peers] == sorted({epoch for _, epoch in ears_b.peers})
        for each in (a, b, again):
            await each.close()

    run(test)


@pytest.mark.parametrize(
    "words",
    [
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"\xff\xff\xff\xff"],
        [frame(pickle.dumps("hello"))],
        [frame(pack_hello(Hello("a", "uuid", 1, "somebody else", "", b"n" * NONCE_BYTES))), frame(b"")],
        [frame(pack_hello(Hello("a", "uuid", 1, "b", "", b"n" * NONCE_BYTES))), frame(b"\0" * 32)],
        [
            frame(pack_hello(Hello("a", "uuid", 1, "b", "", b"n" * NONCE_BYTES))),
            frame(m.pack_message(m.Beat(9, 1, 1))),
        ],
    ],
    ids=["http", "endless frame", "pickle", "for another node", "wrong proof", "message instead of a proof"],
)
def test_stranger_is_cut_and_never_heard(words: list[bytes]) -> None:
    async def test() -> None:
        ears = Ears()
        b = transport("b", ears)
        host, port = await b.open("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"".join(words))
        try:
            while await reader.read(10_000):
                pass
        except ConnectionError:
            pass
        writer.close()
        assert (ears.peers, ears.heard) == ([], [])
        await b.close()

    run(test)


def test_mutual_tls_lets_in_who_has_a_certificate_of_our_authority_and_nobody_else(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()

    def security(authority: trustme.CA) -> PeerSecurity:
        files = [str(tmp_path / f"{id(authority)}.{name}") for name in ("key", "cert", "ca")]
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(files[0])
        issued.cert_chain_pems[0].write_to_path(files[1])
        ours.cert_pem.write_to_path(files[2])
        return security_of(
            RaftSection(
                peers=(Peer("b", "127.0.0.1:1"),), tls_key=files[0], tls_cert=files[1], tls_ca=files[2]
            )
        )

    async def test() -> None:
        ears_a, ears_b, ears_c = Ears(), Ears(), Ears()
        a, b, c = transport("a", ears_a), transport("b", ears_b), transport("0", ears_c)
        a.security, b.security, c.security = security(ours), security(ours), security(theirs)
        host, port = await b.open("127.0.0.1", 0)
        c.set_peers([("b", f"{host}:{port}")])
        a.set_peers([("b", f"{host}:{port}")])
        await until(lambda: bool(ears_a.peers) and bool(ears_b.peers))
        a.send("b", EXAMPLES[0])
        await until(lambda: bool(ears_b.heard))
        assert ears_b.heard == [("a", 1, EXAMPLES[0])]
        assert (ears_c.peers, {peer for peer, _ in ears_b.peers}) == ([], {"a"})
        for each in (a, b, c):
            await each.close()

    run(test)


def test_nodes_that_could_not_tell_each_other_from_strangers_do_not_start() -> None:
    with pytest.raises(Unsupported, match=r"raft\.secret"):
        security_of(RaftSection(peers=(Peer("b", "h:1"),)))


def test_nodes_that_are_given_as_a_list_go_by_their_addresses() -> None:
    raft = RaftSection(
        node_id="n1", advertise="h1:1", peers=(Peer("h2:1", "h2:1"), Peer("h1:1", "h1:1")), secret=SECRET
    )
    assert name_of(raft) == "h1:1"
    assert configuration_of(raft) == Configuration.of({"h1:1": "h1:1", "h2:1": "h2:1"}, {})
    joining = configuration_of(raft, begins_as_observer=True)
    assert (joining.voters, joining.observers) == (("h2:1",), ("h1:1",))
