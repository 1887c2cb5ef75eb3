"""Keys and TLS of a broker that runs: what its clients, workers and tq-admin meet, and what SIGHUP changes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lab.processes import Process, program, start_broker, start_worker, wait_until
from tests.access.broker_files import TOKENS, reload, running, write_config
from tests.access.certificates import Authority, Pair
from tests.admin.running import Admin
from tq import Client
from tq.client.task import Task
from tq.client.tls import client_context, context_of_environment
from tq.errors import AuthenticationFailed, BadRequest, PermissionDenied, ProtocolError
from tq.proto import taskqueue_pb2 as pb
from tq.proto.taskqueue_pb2_grpc import TaskQueueStub
from tq.worker.main import main as worker_main


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def shown(authority: Authority) -> Pair:
    """A certificate of a client."""
    return authority.issue("client")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[tuple[Process, str]]:
    """A broker with keys and TLS that asks for client certificates."""
    directory = tmp_path_factory.mktemp("broker")
    metrics = "monitoring: {prometheus_port: 0}"
    config = write_config(directory, TOKENS, authority.broker(clients=authority), metrics)
    with running(directory, config) as found:
        yield found


def test_a_client_with_a_key_and_a_certificate_does_what_its_key_permits(
    guarded: tuple[Process, str], authority: Authority, shown: Pair
) -> None:
    tls = client_context(authority.path, cert=shown.cert, key=shown.key)
    with Client(guarded[1], api_key="ci-token-2", tls=tls) as client:
        assert client.get_task(client.submit_task("t")).task_type == "t"
        with pytest.raises(PermissionDenied, match="cancel_tasks"):
            client.cancel_task(client.submit_task("t"))


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_client_with_a_wrong_key_or_none_is_told_so_at_once(
    guarded: tuple[Process, str], authority: Authority, shown: Pair, token: str
) -> None:
    tls = client_context(authority.path, cert=shown.cert, key=shown.key)
    with Client(guarded[1], api_key=token, tls=tls) as client, pytest.raises(AuthenticationFailed):
        client.submit_task("t")


def test_a_client_that_shows_no_certificate_is_told_to_give_one(
    guarded: tuple[Process, str], authority: Authority
) -> None:
    with (
        Client(guarded[1], api_key="ci-token-2", tls=client_context(authority.path)) as client,
        pytest.raises(AuthenticationFailed, match="--tls-cert"),
    ):
        client.ping()


def test_a_client_that_does_not_know_the_authority_does_not_send_its_key(
    guarded: tuple[Process, str],
) -> None:
    with (
        Client(guarded[1], api_key="ci-token-2", tls=True) as client,
        pytest.raises(AuthenticationFailed, match="not trusted"),
    ):
        client.ping()


def test_a_client_without_tls_is_told_that_it_is_on_there(guarded: tuple[Process, str]) -> None:
    with (
        Client(guarded[1], api_key="ci-token-2") as client,
        pytest.raises(ProtocolError, match="switch TLS on"),
    ):
        client.ping()
    told = "a client without TLS dialled a port where TLS is on"
    wait_until(
        lambda: any(line["message"] == told for line in guarded[0].events()),
        60,
        what=lambda: guarded[0].log_tail(),
    )


def test_tq_admin_takes_key_and_certificates_from_flags_or_the_environment(
    guarded: tuple[Process, str], authority: Authority, shown: Pair
) -> None:
    admin = Admin(guarded[1])
    tls = ("--tls-ca", authority.path, "--tls-cert", shown.cert, "--tls-key", shown.key)

    assert admin.run("stats", "--api-key", "ops-token-1", *tls).exit_code == 0
    done = admin.run(
        "stats",
        TQ_API_KEY="ops-token-1",
        TQ_TLS_CA=authority.path,
        TQ_TLS_CERT=shown.cert,
        TQ_TLS_KEY=shown.key,
    )
    assert done.exit_code == 0
    refused = admin.run("stats", *tls, "--api-key", "worker-token-3")
    assert refused.exit_code == 1
    assert "PERMISSION_DENIED" in refused.errors
    assert admin.run("stats", *tls, "--api-key", "wrong").exit_code == 1
    assert "--tls-cert" in admin.run("stats", *tls[:2], "--api-key", "ops-token-1").errors


def test_what_tq_admin_does_not_check_it_warns_of(guarded: tuple[Process, str], shown: Pair) -> None:
    arguments = [
        "--tls-insecure",
        "--tls-cert",
        shown.cert,
        "--tls-key",
        shown.key,
        "--api-key",
        "ops-token-1",
    ]
    done = subprocess.run(
        [program("tq-admin"), "--broker-addr", guarded[1], *arguments, "stats"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "without checking who answers" in done.stderr


def test_a_worker_with_a_key_and_a_certificate_runs_tasks(
    guarded: tuple[Process, str], authority: Authority, shown: Pair, tmp_path: Path
) -> None:
    tls = client_context(authority.path, cert=shown.cert, key=shown.key)
    arguments = ("--tls-ca", authority.path, "--tls-cert", shown.cert, "--tls-key", shown.key)
    with (
        start_worker(tmp_path, guarded[1], *arguments, "--api-key", "worker-token-3") as worker,
        Client(guarded[1], api_key="ci-token-2", tls=tls) as client,
    ):
        task_id = client.submit_task("echo", b"through all of it")
        assert client.wait_for_result(task_id, timeout=30) == b"through all of it"
        assert worker.is_running


def test_the_metrics_port_takes_the_keys_and_certificates_of_the_other_doors(
    guarded: tuple[Process, str], authority: Authority, shown: Pair
) -> None:
    address = guarded[0].wait_for_event("ready")["addresses"]["metrics"]  # type: ignore[index]
    url = f"https://{address}/metrics"

    def scrape(token: str) -> httpx.Response:
        with httpx.Client(verify=authority.trusting(shown), trust_env=False) as client:
            return client.get(url, headers={"authorization": f"Bearer {token}"} if token else {})

    page = scrape("ci-token-2")
    assert (page.status_code, "tq_tasks_pending" in page.text) == (200, True)
    assert scrape("ops-token-1").status_code == 200
    for token, status, words in (
        ("", 401, "asks for a key"),
        ("wrong", 401, "not known"),
        ("worker-token-3", 403, "read_tasks"),
    ):
        refused = scrape(token)
        assert (refused.status_code, words in refused.text) == (status, True)
    before = page.text.count('tq_rejections_total{code="PERMISSION_DENIED"}')
    assert before <= scrape("ci-token-2").text.count('tq_rejections_total{code="PERMISSION_DENIED"}') == 1
    with (
        httpx.Client(verify=authority.trusting(), trust_env=False) as stranger,
        pytest.raises(httpx.HTTPError),
    ):
        stranger.get(url)
    with httpx.Client(trust_env=False) as plain:
        assert plain.get(url.replace("https", "http")).status_code == 400


def test_the_environment_that_a_worker_has_serves_its_apps_clients_too(
    authority: Authority, shown: Pair
) -> None:
    assert context_of_environment({}) is None
    assert context_of_environment({"TQ_TLS": "off", "TQ_TLS_CA": ""}) is None
    assert context_of_environment({"TQ_TLS": "ture"}) is not None, "a typing error must not mean no TLS"
    found = context_of_environment({"TQ_TLS_CA": authority.path, "TQ_TLS_INSECURE": "ture"})
    assert found is not None
    assert found.check_hostname
    with pytest.raises(BadRequest, match="TQ_TLS_CERT|--tls-cert"):
        context_of_environment({"TQ_TLS_KEY": shown.key})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tls-ca", "/no/such.pem"], "/no/such.pem"),
        (["--tls-cert", "/no/such.pem", "--tls-key", "/no/such.pem"], "/no/such.pem"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_mistake_on_the_command_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Admin().run("stats", *arguments)
    assert done.exit_code == 2
    assert words in done.errors
    assert worker_main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_tls_client_on_a_plain_port_is_told_so_and_so_is_the_log(
    tmp_path: Path, authority: Authority
) -> None:
    with running(tmp_path, write_config(tmp_path, TOKENS)) as (broker, address):
        with (
            Client(address, api_key="ci-token-2", tls=client_context(authority.path)) as client,
            pytest.raises(ProtocolError, match="does not speak TLS"),
        ):
            client.ping()
        told = "a TLS client dialled this port, where TLS is off"
        wait_until(
            lambda: any(line["message"] == told for line in broker.events()),
            60,
            what=lambda: broker.log_tail(),
        )


def test_a_certificate_that_cannot_serve_ends_the_start_with_2_and_a_reason(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.broker()
    wrong = files._replace(key_path=authority.issue("other").key)
    with start_broker(tmp_path, "--config", str(write_config(tmp_path, TOKENS, wrong))) as broker:
        assert broker.wait() == 2
        assert wrong.key_path in broker.log_tail()
        assert "does not belong to" in broker.log_tail()


def test_a_batch_beyond_the_rate_is_sent_again_by_the_client_when_it_may_be(tmp_path: Path) -> None:
    config = write_config(tmp_path, TOKENS)
    config.write_text(config.read_text().replace("rate_limit_per_second: null", "rate_limit_per_second: 40"))
    with running(tmp_path, config) as (_, address), Client(address, api_key="ci-token-2") as client:
        for _ in range(3):
            client.submit_tasks([Task("t")] * 40)

        assert client.stats().pending_count == 120


def test_nothing_that_a_broker_wrote_or_answered_holds_a_key_or_a_hash(tmp_path: Path) -> None:
    config = write_config(tmp_path, TOKENS)
    wrong = "a-wrong-token-that-nobody-has"
    secrets = [*(token for token, _ in TOKENS.values()), wrong]
    answers: list[str] = []
    with running(tmp_path, config, "--log-level", "debug") as (broker, address):
        doors = broker.wait_for_event("ready")["addresses"]
        assert isinstance(doors, dict)
        for token in (*secrets, "x" * 73, "not a key"):
            with Client(address, api_key=token) as client:
                try:
                    client.submit_task("t")
                except (AuthenticationFailed, PermissionDenied) as error:
                    answers.append(error.text)
            for path in ("/api/v1/stats", f"/api/v1/tasks?queue={token}&token={token}", "/metrics"):
                answers.append(_got(f"http://{doors['rest']}{path}", token))
            answers.append(_called(doors["grpc"], token))
        metrics = _got(f"http://{doors['rest']}/metrics", "ops-token-1")
        assert "tq_rejections_total" in metrics
        answers.append(metrics)
        reload(broker)
        config.write_text(config.read_text().replace("$2b$04$", "$2b$99$"))
        reload(broker)

    lines = [line for line in config.read_text().splitlines() if "key_hash" in line]
    secrets += [line.partition("'")[2].strip("'")[7:] for line in lines]
    assert len(secrets) == 7
    written = {
        str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != config
    }
    assert len(written[str(tmp_path / "broker.log")]) > 1000
    written["answers"] = "\n".join(answers).encode()
    assert [
        (path, secret)
        for path, content in written.items()
        for secret in secrets
        if secret.encode() in content
    ] == []


def _got(address: str, token: str) -> str:
    return httpx.get(address, headers={"Authorization": f"Bearer {token}"}, trust_env=False).text


def _called(address: str, token: str) -> str:
    with grpc.insecure_channel(address) as channel:
        stub: Any = TaskQueueStub(channel)  # type: ignore[no-untyped-call]
        try:
            return str(stub.GetStats(pb.GetStatsRequest(), metadata=(("authorization", f"Bearer {token}"),)))
        except grpc.RpcError as error:
            return f"{error}"
