"""The REST door of a real broker process: where it listens, how it stops, and that it is as OpenAPI says."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import trustme

from lab.processes import Process, program, start_broker
from tests.rest.serving import TASKS
from tq.ids import new_id, to_text

SECONDS_MAX = 60.0
FUZZ_SECONDS_MAX = 250
FUZZ_SEED = "20"
FUZZ_EXAMPLES = "3"


def addresses(broker: Process) -> dict[str, str]:
    found = broker.wait_for_event("ready")["addresses"]
    assert isinstance(found, dict)
    return found


def test_a_task_submitted_over_rest_is_there_after_a_restart(tmp_path: Path) -> None:
    task_id = to_text(new_id())
    with start_broker(tmp_path) as broker:
        rest = f"http://{addresses(broker)['rest']}"
        answer = httpx.post(f"{rest}{TASKS}", json={"task_type": "t", "task_id": task_id})
        assert answer.status_code == 201
        assert broker.stop() == 0
    with start_broker(tmp_path, log_path=tmp_path / "second.log") as broker:
        shown = httpx.get(f"http://{addresses(broker)['rest']}{TASKS}/{task_id}").json()

    assert shown["status"] == "pending"


def test_a_null_port_closes_the_door(tmp_path: Path) -> None:
    config = tmp_path / "tq.yaml"
    config.write_text("api: {rest_port: null}\n")
    command = [program("tq-broker"), "--config", str(config), "--host", "127.0.0.1", "--port", "0"]
    command += ["--grpc-port", "0", "--data-dir", str(tmp_path / "data")]
    with Process(command, log_path=tmp_path / "broker.log") as broker:
        assert "rest" not in addresses(broker)


def test_a_port_that_is_taken_is_said_to_be_the_rest_port(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with start_broker(tmp_path) as broker:
        port = addresses(broker)["rest"].rpartition(":")[2]
        with start_broker(tmp_path / "second", "--rest-port", port) as second:
            message = second.wait_for_event("cannot_start")["message"]
            assert second.wait() == 69

    assert "the rest port" in str(message)


def test_a_broker_that_is_told_to_stop_ends_waits_and_stops_cleanly(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker, ThreadPoolExecutor() as pool:
        rest = f"http://{addresses(broker)['rest']}"
        task_id = httpx.post(f"{rest}{TASKS}", json={"task_type": "t"}).json()["task_id"]
        waiting = pool.submit(httpx.get, f"{rest}{TASKS}/{task_id}?wait=60", timeout=SECONDS_MAX)
        _until_asked(rest)

        broker.terminate()

        assert waiting.result(SECONDS_MAX).status_code == 503
        assert broker.wait() == 0
        assert not [line for line in broker.events() if line["level"] in ("error", "critical")]


def _until_asked(rest: str) -> None:
    """Return once the broker has seen the wait's verb: its counters say so."""
    for _ in range(1_000):
        if any(
            line.startswith("tq_requests") and "Watch" in line and not line.endswith(" 0.0")
            for line in httpx.get(f"{rest}/metrics").text.splitlines()
        ):
            return
    raise AssertionError("the wait never arrived")


def test_the_door_serves_tls_with_the_brokers_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with start_broker(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as broker:
        address = addresses(broker)["rest"]
        with httpx.Client(verify=context, base_url=f"https://{address}") as http:
            assert http.post(TASKS, json={"task_type": "t"}).status_code == 201
            assert http.get("/nothing").json()["code"] == "NOT_FOUND"
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"https://{address}/livez")


def test_schemathesis_finds_the_door_to_be_as_openapi_describes_it(tmp_path: Path) -> None:
    hooks = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    # 501 is what a broker without a cluster says to a call about one; everything else from 500 on is a finding.
    settings = tmp_path / "schemathesis.toml"
    settings.write_text('[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 501]\n')
    with start_broker(tmp_path) as broker:
        document = f"http://{addresses(broker)['rest']}/openapi.json"
        command = [program("schemathesis"), "run", document, "--checks", "all", "--no-color"]
        command += ["--seed", FUZZ_SEED, "--max-examples", FUZZ_EXAMPLES, "--request-timeout", "10"]
        command += ["--generation-database", "none", "--workers", "1"]
        unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=unmeasured | {"SCHEMATHESIS_HOOKS": "tests.rest.schemathesis_hooks", "PYTHONPATH": hooks},
            capture_output=True,
            text=True,
            timeout=FUZZ_SECONDS_MAX,
            check=False,
        )
        defects = [line for line in broker.events() if line["level"] in ("error", "critical")]

    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert not defects, json.dumps(defects)[:2_000]
