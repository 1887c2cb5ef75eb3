"""What comes over the Raft port before and after it is believed."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
import trustme
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.logged import Logged, logged
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
from tq.broker.replication.peer_news import LINES_MAX, TOPICS_MAX, WINDOW_SECONDS, PeerNews
from tq.broker.replication.stream import PeerSecurity
from tq.broker.replication.transport import STREAMS_MAX, PeerTransport
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
        await asyncio.wait_for(test(), 120)

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


def security_by(authority: trustme.CA, trusted: trustme.CA, directory: Path) -> PeerSecurity:
    """Of a node whose certificate one authority signed, and that trusts another, or the same."""
    files = [str(directory / f"{id(authority)}.{name}") for name in ("key", "cert", "ca")]
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(files[0])
    issued.cert_chain_pems[0].write_to_path(files[1])
    trusted.cert_pem.write_to_path(files[2])
    return security_of(
        RaftSection(peers=(Peer("b", "127.0.0.1:1"),), tls_key=files[0], tls_cert=files[1], tls_ca=files[2])
    )


def test_mutual_tls_lets_in_who_has_a_certificate_of_our_authority_and_nobody_else(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()

    async def test() -> None:
        ears_a, ears_b, ears_c = Ears(), Ears(), Ears()
        a, b, c = transport("a", ears_a), transport("b", ears_b), transport("0", ears_c)
        a.security = b.security = security_by(ours, ours, tmp_path)
        c.security = security_by(theirs, ours, tmp_path)
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


def test_peers_find_each_other_whoever_crowds_their_ports() -> None:
    async def test() -> None:
        ears_a, ears_b = Ears(), Ears()
        a, b = transport("a", ears_a), transport("b", ears_b)
        ports = [await each.open("127.0.0.1", 0) for each in (a, b)]
        other = await asyncio.open_connection(*ports[1])
        crowd = [
            await asyncio.open_connection(*port, local_addr=("127.0.0.2", 0))
            for port in ports
            for _ in range(STREAMS_MAX + 10)
        ]
        a.set_peers([("b", f"127.0.0.1:{ports[1][1]}")])
        await until(lambda: bool(ears_a.peers) and bool(ears_b.peers))
        # It is the crowd that gives way, and nobody else.
        assert await crowd[-1 - STREAMS_MAX][0].read(1) == b""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other[0].read(1), 0.05)
        for each in (a, b):
            await each.close()
        for _, writer in (*crowd, other):
            writer.close()

    run(test)


def test_log_says_why_a_peer_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tq.broker.replication.transport.MISSED_SECONDS", 0.0)
    ours, theirs = trustme.CA(), trustme.CA()

    async def test(log: Logged) -> None:
        a, b = transport("b", Ears()), transport("c", Ears())
        a.security, b.security = security_by(ours, ours, tmp_path), security_by(theirs, ours, tmp_path)
        host, port = await b.open("127.0.0.1", 0)
        a.set_peers([("c", f"{host}:{port}"), ("d", "no..host:1"), ("e", "127.0.0.1:1")])
        await until(lambda: len(log.lines("peer_unreachable")) == 3)
        told = {str(line["peer"]): str(line["message"]) for line in log.lines("peer_unreachable")}
        assert "certificate" in told["c"]
        assert "no..host" in told["d"]
        assert "refused" in told["e"].lower()
        for each in (a, b):
            await each.close()

    with logged() as log:
        run(lambda: test(log))


def test_stranger_who_comes_again_and_again_is_told_of_a_few_times_and_counted() -> None:
    async def test(log: Logged) -> None:
        b = transport("b", Ears())
        host, port = await b.open("127.0.0.1", 0)
        for _ in range(LINES_MAX + 5):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"\xff\xff\xff\xff")
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
        told = log.lines("peer_refused")
        assert len(told) == LINES_MAX
        assert all("a stranger at 127.0.0.1:" in str(line["message"]) for line in told)
        await b.close()

    with logged() as log:
        run(lambda: test(log))


def test_lines_that_were_withheld_are_counted_in_the_next_of_the_same_peer() -> None:
    now = 0.0
    news = PeerNews(lambda: now)
    with logged() as log:
        for _ in range(LINES_MAX + 3):
            news.warn("peer_refused", "n2", "n2: no")
        news.warn("peer_refused", "n3", "n3: no")
        now = WINDOW_SECONDS
        news.warn("peer_refused", "n2", "n2: no")
        news.warn("peer_refused", "n2", "n2: no")
        assert [line.get("withheld") for line in log.lines()] == [None] * (LINES_MAX + 1) + [3, None]


def test_peers_without_number_take_bounded_memory() -> None:
    now = 0.0
    news = PeerNews(lambda: now)
    with logged() as log:
        for number in range(TOPICS_MAX + 100):
            news.warn("peer_refused", f"stranger {number}", "no")
        assert len(log.lines()) == TOPICS_MAX + LINES_MAX
        now = WINDOW_SECONDS
        news.warn("peer_refused", "stranger of the next minute", "no")
        assert len(log.lines()) == TOPICS_MAX + LINES_MAX + 1


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
