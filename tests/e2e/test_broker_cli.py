"""`tq-broker` as people and supervisors meet it: a real process, its output and its exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from lab.processes import Process, ProcessFailed, broker_address, program, start_broker, wait_until
from tq.protocol.connection import Connection, Role
from tq.protocol.events import PushReceived, ReplyReceived
from tq.task import PENDING, TaskSpec, TaskView
from tq.verbs import Draining, GetTask, Reply, Request, Submit, Submitted
from tq.version import VERSION

COMMAND_SECONDS_MAX = 90
STOP_SECONDS_MAX = 10
TASK_ID = bytes(range(16))


def command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `tq-broker` to its end."""
    return subprocess.run(
        [program("tq-broker"), *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
        env=os.environ | env,
    )


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Process]:
    with start_broker(tmp_path) as process:
        broker_address(process)
        yield process


class Client:
    """A blocking client of a few lines: the protocol core over a plain socket."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=COMMAND_SECONDS_MAX)
        self._core = Connection(Role.PEER)
        self._core.start_hello("client")
        self._socket.sendall(self._core.data_to_send())
        self._core.receive(self._socket.recv(65_536))
        self.pushes: list[object] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: Request) -> Reply:
        request_id = self._core.send_request(request)
        self._socket.sendall(self._core.data_to_send())
        while True:
            for event in self._core.receive(self._receive()):
                if isinstance(event, ReplyReceived) and event.request_id == request_id:
                    assert not isinstance(event.reply, Exception), event.reply
                    return event.reply

    def read_to_end(self) -> None:
        """Read until the broker hangs up; pushes are kept."""
        while data := self._socket.recv(65_536):
            events = self._core.receive(data)
            self.pushes += [event.push for event in events if isinstance(event, PushReceived)]

    def _receive(self) -> bytes:
        data = self._socket.recv(65_536)
        assert data, "the broker hung up"
        return data


# ---------------------------------------------------------------- asking about the program


def test_version_names_the_release() -> None:
    done = command("--version")

    assert (done.returncode, done.stdout.strip()) == (0, f"tq-broker {VERSION}")


def test_help_shows_every_flag_of_the_contract_with_examples() -> None:
    done = command("--help")

    assert done.returncode == 0
    for flag in (
        *("config", "host", "port", "data-dir", "node-id", "rest-port", "grpc-port", "max-connections"),
        *("queue-depth-threshold", "tls-cert", "tls-key", "log-level", "log-format", "validate", "version"),
    ):
        assert f"--{flag}" in done.stdout
    assert "examples:" in done.stdout


def test_an_unknown_flag_is_a_usage_error() -> None:
    assert command("--prot", "7000").returncode == 2


def test_validate_accepts_a_good_file_and_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tq.yaml"
    file.write_text(f"broker: {{port: 0}}\npersistence: {{data_dir: {tmp_path / 'data'}}}\n")

    done = command("--config", str(file), "--validate")

    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout
    assert not (tmp_path / "data").exists()


def test_every_problem_of_file_environment_and_flags_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "tq.yaml"
    file.write_text("broker:\n  max_conections: 5\n  queue_depth_threshold: many\n")

    done = command("--config", str(file), "--port", "70000", TQ_LOG_LEVEL="loud")

    assert done.returncode == 2
    for words in ("max_conections", "max_connections", f"{file}:3", "--port", "TQ_LOG_LEVEL"):
        assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (
            "persistence: {durability: relaxed}\n"
            "raft: {enabled: true, advertise: 'h:1', secret: 0123456789abcdef, peers: {node2: 'h:2', node3: 'h:3'}}",
            "persistence.durability",
        ),
    ],
)
def test_a_setting_that_this_release_cannot_honour_stops_the_start(
    tmp_path: Path, settings: str, name: str
) -> None:
    file = tmp_path / "tq.yaml"
    file.write_text(settings + "\n")

    done = command("--config", str(file), "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 2
    assert name in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_certificate_that_cannot_be_used_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    (tmp_path / "key.pem").write_text("no key")

    done = command(
        "--validate", "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")
    )

    assert done.returncode == 2
    assert "tls_cert_path" in done.stderr


# ---------------------------------------------------------------- starting


def test_ready_is_one_json_line_with_the_addresses_that_are_served(broker: Process) -> None:
    ready = [line for line in broker.events() if line["event"] == "ready"]

    assert len(ready) == 1
    addresses = ready[0]["addresses"]
    assert isinstance(addresses, dict)
    assert set(addresses) == {"tcp", "rest", "grpc"}
    with Client(addresses["tcp"]) as client:
        assert isinstance(client.ask(Submit((TaskSpec(TASK_ID, "t"),))), Submitted)


def test_without_a_format_logs_are_json_and_text_can_be_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "text.log"
    with start_broker(tmp_path, "--log-format", "text", log_path=log) as process:
        wait_until(lambda: "[ready]" in log.read_text(), COMMAND_SECONDS_MAX, what=lambda: process.log_tail())


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with start_broker(tmp_path, port=port) as process:
            assert process.wait() == 69

    problem = _cannot_start(process)
    assert f"127.0.0.1:{port}" in problem
    assert "another port" in problem


def test_a_data_directory_of_another_broker_is_refused_with_its_process_id(
    tmp_path: Path, broker: Process
) -> None:
    with start_broker(tmp_path, log_path=tmp_path / "second.log") as second:
        assert second.wait() == 69

    assert str(broker.pid) in _cannot_start(second)
    assert broker.is_running


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")

    with start_broker(tmp_path) as process:
        assert process.wait() in (69, 74)

    assert str(tmp_path / "data") in _cannot_start(process)


def test_a_damaged_store_is_refused_with_its_name_and_a_command_that_helps(tmp_path: Path) -> None:
    with start_broker(tmp_path) as process:
        with Client(broker_address(process)) as client:
            client.ask(Submit((TaskSpec(TASK_ID, "t", b"x" * 1000),)))
        process.stop()
    (tmp_path / "data" / "store" / "CURRENT").unlink()

    with start_broker(tmp_path) as process:
        assert process.wait() == 65

    problem = _cannot_start(process)
    assert "CURRENT" in problem
    assert "estore" in problem


# ---------------------------------------------------------------- stopping


def test_sigterm_says_goodbye_and_exits_cleanly_within_ten_seconds(broker: Process) -> None:
    with Client(broker_address(broker)) as client:
        client.ask(Submit((TaskSpec(TASK_ID, "t"),)))

        broker.terminate()
        client.read_to_end()

    assert [type(push) for push in client.pushes] == [Draining]
    assert broker.wait() == 0
    assert [line["event"] for line in broker.events()][-2:] == ["stopping", "stopped"]
    assert _seconds_to_stop(broker) < STOP_SECONDS_MAX


def test_a_peer_that_holds_on_cannot_keep_the_broker_from_stopping(broker: Process) -> None:
    with Client(broker_address(broker)) as client:
        client.ask(Submit((TaskSpec(TASK_ID, "t"),)))

        broker.terminate()

        assert broker.wait() == 0
    assert _seconds_to_stop(broker) < STOP_SECONDS_MAX


def test_a_second_signal_hurries_and_still_ends_cleanly(broker: Process) -> None:
    with Client(broker_address(broker)) as client:
        client.ask(Submit((TaskSpec(TASK_ID, "t"),)))

        broker.terminate()
        broker.terminate()

        assert broker.wait() == 0
    assert _seconds_to_stop(broker) < STOP_SECONDS_MAX


def _seconds_to_stop(broker: Process) -> float:
    """From the signal until nothing was left to do, by the broker's own log: how fast Python ends is not its affair."""
    at = {line["event"]: datetime.fromisoformat(str(line["timestamp"])) for line in broker.events()}
    return (at["stopped"] - at["stopping"]).total_seconds()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path, end: signal.Signals) -> None:
    with start_broker(tmp_path) as process:
        with Client(broker_address(process)) as client:
            assert isinstance(client.ask(Submit((TaskSpec(TASK_ID, "t", b"kept"),))), Submitted)
        os.kill(process.pid, end)
        try:
            assert process.wait() == (-9 if end == signal.SIGKILL else 0)
        except ProcessFailed:
            process.kill()
            raise

    with start_broker(tmp_path) as process, Client(broker_address(process)) as client:
        view = client.ask(GetTask(TASK_ID, with_payload=True))

    assert isinstance(view, TaskView)
    assert (view.state, view.payload) == (PENDING, b"kept")


def _cannot_start(process: Process) -> str:
    """The one line that says why; nothing else but `starting` may have been said, and no traceback."""
    text = process.log_path.read_text()
    assert "Traceback" not in text
    (line,) = [line for line in process.events() if line["event"] == "cannot_start"]
    assert json.loads(text.splitlines()[-1]) == line
    return str(line["message"])
