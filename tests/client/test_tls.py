"""The clients over TLS, in every flavour."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from tests.client.driven import FLAVOURS, Driven
from tests.client.fake_broker import FakeBroker, Fault
from tq import ids, verbs
from tq.client.task import Task
from tq.errors import AuthenticationFailed, BrokerUnavailable, TqError

pytestmark = pytest.mark.parametrize("flavour", FLAVOURS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def at_broker(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=f"{certificate}.crt")


def test_large_batches_and_results_pass_and_a_lost_connection_is_made_again(
    flavour: str, at_broker: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with FakeBroker(tls=at_broker) as broker, Driven(flavour, broker.address, tls=trusting) as client:
        payload = bytes(range(256)) * 12_000
        task_ids = client.submit_tasks([Task("mail", payload)] * 3)
        broker.finish(ids.from_text(task_ids[0]), result=payload)
        assert client.wait_for_result(task_ids[0], timeout=20) == payload
        broker.plan(verbs.Submit, Fault.CUT_AFTER)
        client.submit_task("mail")
        assert len(broker.order) == 4


def test_certificate_nobody_vouches_for_is_refused_at_once(flavour: str, at_broker: ssl.SSLContext) -> None:
    with FakeBroker(tls=at_broker) as broker, Driven(flavour, broker.address, tls=True) as client:
        with pytest.raises(AuthenticationFailed, match="certificate"):
            client.ping()
        assert not broker.hellos


def test_broker_without_tls_is_not_spoken_to_in_the_clear(flavour: str, trusting: ssl.SSLContext) -> None:
    with FakeBroker() as broker, Driven(flavour, broker.address, tls=trusting, timeout=0.5) as client:
        with pytest.raises(TqError):
            client.ping()
        assert not broker.hellos


def test_client_without_tls_is_told_that_the_broker_is_unavailable(
    flavour: str, at_broker: ssl.SSLContext
) -> None:
    with (
        FakeBroker(tls=at_broker) as broker,
        Driven(flavour, broker.address, timeout=0.5) as client,
        pytest.raises(BrokerUnavailable),
    ):
        client.ping()
