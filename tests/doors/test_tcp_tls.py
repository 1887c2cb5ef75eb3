"""The TCP door behind TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.doors.serving import run, serving
from tq.broker.admission import Limits
from tq.errors import BrokerUnavailable
from tq.ids import new_id
from tq.task import TaskSpec, TaskView
from tq.verbs import Done, GetTask, Ping, Submit


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with cert.pem and key.pem for 127.0.0.1, made by the openssl command."""
    directory = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tq"
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True
    )
    return directory


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def client_side(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate / "cert.pem"))


def test_requests_and_large_answers_pass_through_tls(certificate: Path) -> None:
    async def scenario() -> None:
        async with serving(tls=server_side(certificate)) as here:
            client = await here.dial(tls=client_side(certificate))
            task = TaskSpec(new_id(), "t", b"x" * 3_000_000)
            await client.ask(Submit((task,)))

            view = await client.ask(GetTask(task.task_id))

            assert isinstance(view, TaskView)
            assert view.payload == task.payload

    run(scenario())


def test_a_goodbye_is_read_through_tls(certificate: Path) -> None:
    async def scenario() -> None:
        async with serving(tls=server_side(certificate)) as here:
            client = await here.dial(tls=client_side(certificate))
            here.door.say_goodbye(BrokerUnavailable("the broker stopped"))

            assert isinstance(await client.farewell(), BrokerUnavailable)
            client.writer.close()
            assert await here.door.emptied(10_000)

    run(scenario())


def test_a_plain_client_on_a_tls_port_is_cut_off_and_others_are_unharmed(certificate: Path) -> None:
    async def scenario() -> None:
        async with serving(tls=server_side(certificate)) as here:
            honest = await here.dial(tls=client_side(certificate))
            reader, writer = await here.stranger()
            writer.write(b"\0\0\0\x10 this is no handshake")

            await asyncio.gather(reader.read(-1), return_exceptions=True)

            assert await honest.ask(Ping()) == Done()
            assert here.observer.connections_open == 1

    run(scenario())


def test_a_tls_handshake_that_never_comes_is_given_up(certificate: Path) -> None:
    async def scenario() -> None:
        async with serving(Limits(handshake_ms=60), tls=server_side(certificate)) as here:
            reader, _ = await here.stranger()

            await asyncio.gather(reader.read(-1), return_exceptions=True)

            assert here.observer.connections_total == 0

    run(scenario())
