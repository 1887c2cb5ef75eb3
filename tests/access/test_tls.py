"""The certificate the doors show, whom they let in, and a reload of both while connections live."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from tests.access.certificates import Authority
from tests.doors.serving import Serving, run, serving
from tq import logs
from tq.broker.tls import COMPLAINTS_MAX, COMPLAINTS_MS, TlsContext, TlsFiles, TlsUnusable
from tq.clock import ManualClock
from tq.protocol.connection import Connection, Role
from tq.protocol.events import Failed
from tq.verbs import Done, Ping


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "theirs")


def made(files: TlsFiles, clock: ManualClock | None = None) -> TlsContext:
    return TlsContext(files, (clock or ManualClock()).monotonic_ms)


def logged(level: str = "warning") -> StringIO:
    out = StringIO()
    logs.configure(level, "json", out)
    return out


def events(out: StringIO) -> list[str]:
    return [json.loads(line)["message"] for line in out.getvalue().splitlines()]


async def is_let_in(here: Serving, trust: ssl.SSLContext) -> bool:
    """With TLS 1.3 a client whose certificate is refused learns it only when it reads."""
    try:
        peer = await here.dial(tls=trust)
    except (OSError, ConnectionError):
        return False
    return await peer.ask(Ping()) == Done()


def test_an_older_protocol_than_1_2_is_not_spoken(ours: Authority) -> None:
    async def scenario() -> None:
        context = made(ours.broker()).context
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        async with serving(tls=context) as here:
            old = ours.trusting()
            old.set_ciphers("DEFAULT@SECLEVEL=0")
            with pytest.warns(DeprecationWarning):
                old.minimum_version = ssl.TLSVersion.TLSv1_1
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            assert not await is_let_in(here, old)
            assert await is_let_in(here, ours.trusting())

    logged("critical")
    run(scenario())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_asked_for_a_certificate_of_the_named_authority(
    ours: Authority, theirs: Authority, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        async with serving(tls=made(ours.broker(clients=ours)).context) as here:
            shown = [ours.trusting(ours.issue("client")), ours.trusting(), ours.trusting(theirs.issue("c"))]
            for context in shown:
                context.maximum_version = version

            assert [await is_let_in(here, context) for context in shown] == [True, False, False]

    out = logged()
    run(scenario())
    assert events(out)[0] == "a client showed no certificate; this broker asks for one"
    assert "certificate verify failed" in events(out)[1]


def test_a_client_without_a_certificate_reads_why_it_is_turned_away(ours: Authority) -> None:
    async def scenario() -> None:
        async with serving(tls=made(ours.broker(clients=ours)).context) as here:
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                await here.dial(tls=ours.trusting())

    logged("critical")
    run(scenario())


def test_a_reload_reaches_new_connections_and_leaves_open_ones_alone(
    ours: Authority, theirs: Authority
) -> None:
    async def scenario() -> None:
        tls = made(ours.broker())
        async with serving(tls=tls.context) as here:
            before = await here.dial(tls=ours.trusting())

            tls.use(tls.load(theirs.broker()))

            assert await before.ask(Ping()) == Done()
            assert await is_let_in(here, theirs.trusting())
            assert not await is_let_in(here, ours.trusting())
            tls.use(tls.load(ours.broker("renewed")))
            assert await is_let_in(here, ours.trusting())
            assert await before.ask(Ping()) == Done()

    logged("critical")
    run(scenario())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_authority_that_was_taken_out_counts_no_more_not_even_for_a_session_taken_up_again(
    ours: Authority, theirs: Authority, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        files = ours.broker(clients=ours)
        tls = made(files)
        async with serving(tls=tls.context) as here:
            trust = ours.trusting(ours.issue("client"))
            trust.maximum_version = version
            first = await asyncio.to_thread(handshake, here.port, trust, None)
            assert first is not None

            tls.use(tls.load(files._replace(client_ca_path=theirs.path)))

            assert await asyncio.to_thread(handshake, here.port, trust, first) is None
            assert await is_let_in(here, ours.trusting(theirs.issue("client")))

    logged("critical")
    run(scenario())


def handshake(port: int, trust: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """One connection that says hello; its session, or None when it was not let in."""
    import socket

    core = Connection(Role.PEER)
    core.start_hello("client")
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as sock,
        ):
            sock.sendall(core.data_to_send())
            return sock.session if sock.recv(1024) else None
    except OSError:
        return None


def test_the_bytes_of_the_files_are_there_for_other_libraries_and_follow_a_reload(ours: Authority) -> None:
    files = ours.broker(clients=ours)
    tls = made(files)
    assert tls.pems.certificate == Path(files.cert_path).read_bytes()
    assert tls.pems.key == Path(files.key_path).read_bytes()
    assert tls.pems.client_ca == Path(ours.path).read_bytes()

    renewed = ours.broker("renewed")
    tls.use(tls.load(renewed))

    assert tls.pems.certificate == Path(renewed.cert_path).read_bytes()
    assert tls.pems.client_ca is None


BAD = {
    "no such certificate": ("cert_path", "/no/such.pem", "tls_cert_path", "No such file"),
    "no such key": ("key_path", "/no/such.pem", "tls_key_path", "No such file"),
    "no such authority": ("client_ca_path", "/no/such.pem", "tls_client_ca_path", "No such file"),
    "a key for a certificate": ("cert_path", "key", "tls_cert_path", "no certificate"),
    "a certificate for a key": ("key_path", "cert", "tls_key_path", "no private key"),
    "a key for an authority": ("client_ca_path", "key", "tls_client_ca_path", "no certificate"),
    "a key of another": ("key_path", "other key", "tls_key_path", "does not belong to"),
    "an encrypted key": ("key_path", "encrypted key", "tls_key_path", "encrypted"),
    "a broken certificate": ("cert_path", "broken", "tls_cert_path", "cannot be used"),
    "a broken authority": ("client_ca_path", "broken", "tls_client_ca_path", "cannot be read"),
}


@pytest.mark.parametrize(("field", "what", "setting", "words"), BAD.values(), ids=BAD)
def test_files_that_cannot_serve_are_named_with_the_reason_and_a_reload_of_them_changes_nothing(
    ours: Authority, tmp_path: Path, field: str, what: str, setting: str, words: str
) -> None:
    good = ours.broker()
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n")
    encrypted = tmp_path / "encrypted.pem"
    command = [
        "openssl",
        "pkey",
        "-in",
        good.key_path,
        "-aes128",
        "-passout",
        "pass:x",
        "-out",
        str(encrypted),
    ]
    subprocess.run(command, check=True, capture_output=True)
    paths = {
        "key": good.key_path,
        "cert": good.cert_path,
        "other key": ours.issue("other").key,
        "encrypted key": str(encrypted),
        "broken": str(broken),
    }
    path = paths.get(what, what)
    tls = made(good)
    before = tls.pems

    with pytest.raises(TlsUnusable) as caught:
        made(good._replace(**{field: path}))
    with pytest.raises(TlsUnusable):
        tls.load(good._replace(**{field: path}))

    assert caught.value.setting == setting
    assert words in caught.value.text
    assert path in caught.value.text
    assert caught.value.remedy
    assert tls.pems is before


def test_a_plain_client_is_told_that_tls_is_on_and_so_is_the_log(ours: Authority) -> None:
    async def scenario() -> None:
        async with serving(tls=made(ours.broker()).context) as here:
            reader, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client")
            writer.write(core.data_to_send())

            (failed,) = core.receive(await reader.read(100))

            assert isinstance(failed, Failed)
            assert "switch TLS on" in failed.error.text
            writer.close()
            assert await is_let_in(here, ours.trusting())

    out = logged()
    run(scenario())
    assert events(out) == ["a client without TLS dialled a port where TLS is on"]


def test_a_plain_http_client_gets_an_answer_it_can_read(ours: Authority) -> None:
    async def scenario() -> None:
        async with serving(tls=made(ours.broker()).context) as here:
            reader, writer = await here.stranger()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

            head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            (length,) = (line for line in head if line.startswith(b"Content-Length: "))
            body = await reader.readexactly(int(length.partition(b" ")[2]))

            # The connection is still open: only the length tells the client that this is all.
            assert head[0] == b"HTTP/1.1 400 Bad Request"
            assert body == b"TLS is on at this port; use https or, for tq, --tls\n"
            writer.close()

    logged("critical")
    run(scenario())


def test_failed_handshakes_fill_neither_the_log_nor_the_door(ours: Authority) -> None:
    async def scenario() -> None:
        async with serving(tls=made(ours.broker(), clock).context) as here:
            for _ in range(COMPLAINTS_MAX + 5):
                reader, writer = await here.stranger()
                writer.write(b"\0\0\0\x10 this is no handshake")
                await reader.read(100)
                writer.close()
            clock.advance(COMPLAINTS_MS)
            reader, writer = await here.stranger()
            writer.write(b"\0\0\0\x10 this is no handshake")
            await reader.read(100)
            writer.close()
            assert here.observer.connections_total == 0

    clock, out = ManualClock(), logged()
    run(scenario())
    assert events(out)[COMPLAINTS_MAX] == "5 more TLS handshakes failed"
    assert len(events(out)) == COMPLAINTS_MAX + 2


def test_a_key_beside_its_certificate_in_one_file_serves(ours: Authority, tmp_path: Path) -> None:
    files = ours.broker()
    both = tmp_path / "both.pem"
    with both.open("wb") as out:
        for path in (files.key_path, files.cert_path):
            with open(path, "rb") as part:
                shutil.copyfileobj(part, out)

    assert made(TlsFiles(str(both), str(both))).pems.key == both.read_bytes()
