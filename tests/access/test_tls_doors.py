"""One TLS context for all doors: whom each lets in, and what a reload does to it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.access.certificates import Authority
from tests.access.doors import DOORS, Recorder, behind
from tests.access.keyring import key, keyring
from tests.access.test_tls import logged, made
from tests.doors.serving import WAIT_S, run
from tq.protocol.connection import Connection, Role


class Talk(NamedTuple):
    """Bytes that a door answers, at first and again later. alpn: what a client of it must offer."""

    first: bytes
    again: bytes
    alpn: tuple[str, ...] = ()


def tcp_hello() -> bytes:
    core = Connection(Role.PEER)
    core.start_hello("client", "token")
    return core.data_to_send()


GET = b"GET /livez HTTP/1.1\r\nHost: broker\r\n\r\n"
TALKS = {
    # A second hello is against the rules, and is answered with a goodbye: the connection was there to say it.
    "tcp": Talk(tcp_hello(), tcp_hello()),
    "rest": Talk(GET, GET),
    "grpc": Talk(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
        bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + b"ping" * 2,
        ("h2",),
    ),
}
"""gRPC's are HTTP/2: the preface with empty settings, and a ping"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "theirs")


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def is_answered(self, data: bytes) -> bool:
        try:
            self._writer.write(data)
            async with asyncio.timeout(WAIT_S):
                return bool(await self._reader.read(65_536))
        except OSError:
            return False

    def cut(self) -> None:
        self._writer.transport.abort()


async def call(address: tuple[str, int], talk: Talk, trust: ssl.SSLContext) -> Line | None:
    """A connection that the door let in, or None. With TLS 1.3 a client learns only by reading that it was not."""
    if talk.alpn:
        trust.set_alpn_protocols(talk.alpn)
    try:
        line = Line(*await asyncio.open_connection(*address, ssl=trust))
    except OSError:
        return None
    if await line.is_answered(talk.first):
        return line
    line.cut()
    return None


@pytest.mark.parametrize("name", DOORS)
def test_every_door_shows_the_newest_certificate_and_leaves_open_connections_alone(
    name: str, ours: Authority, theirs: Authority
) -> None:
    async def scenario() -> None:
        tls, talk = made(ours.broker()), TALKS[name]
        async with DOORS[name].open(behind(keyring(key("ops", "token")), Recorder(), tls)) as opened:
            before = await call(opened.address, talk, ours.trusting())
            assert before is not None
            assert await call(opened.address, talk, theirs.trusting()) is None

            tls.use(tls.load(theirs.broker()))

            after = await call(opened.address, talk, theirs.trusting())
            assert after is not None
            assert await call(opened.address, talk, ours.trusting()) is None
            assert await before.is_answered(talk.again)
            before.cut()
            after.cut()

    logged("critical")
    run(scenario())


@pytest.mark.parametrize("name", DOORS)
def test_every_door_asks_for_the_certificate_that_the_newest_authorities_signed(
    name: str, ours: Authority, theirs: Authority
) -> None:
    async def scenario() -> None:
        files, talk = ours.broker(clients=ours), TALKS[name]
        tls = made(files)
        async with DOORS[name].open(behind(keyring(key("ops", "token")), Recorder(), tls)) as opened:

            async def let_in() -> list[bool]:
                shown = [ours.issue("client"), theirs.issue("client"), None]
                lines = [await call(opened.address, talk, ours.trusting(each)) for each in shown]
                for line in lines:
                    if line is not None:
                        line.cut()
                return [line is not None for line in lines]

            assert await let_in() == [True, False, False]
            tls.use(tls.load(files._replace(client_ca_path=theirs.path)))
            assert await let_in() == [False, True, False]

    logged("critical")
    run(scenario())


def test_the_sample_with_everything_on_starts_a_broker(
    ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.processes import broker_address, start_broker
    from tests.access.keyring import hash_of
    from tests.checks.sources import ROOT
    from tq import Client
    from tq.client.tls import client_context

    files, shown = ours.broker(clients=ours), ours.issue("client")
    variables = {
        "TLS_CERT_PATH": files.cert_path,
        "TLS_KEY_PATH": files.key_path,
        "TLS_CLIENT_CA_PATH": files.client_ca_path or "",
        **{f"KEY_HASH_{name.upper()}": hash_of(name) for name in ("ci", "workers", "prometheus", "operator")},
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with start_broker(tmp_path, "--config", str(ROOT / "config" / "secure.yaml")) as broker:
        tls = client_context(ours.path, cert=shown.cert, key=shown.key)
        with Client(broker_address(broker), api_key="operator", tls=tls) as client:
            assert client.stats().pending_count == 0
