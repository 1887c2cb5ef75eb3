"""`tq-admin` as a process: terminals, pipes, --watch and Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import broker_address, start_broker
from tests.admin.running import COMMAND_SECONDS_MAX, Admin


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One broker for all the tests of this file."""
    directory = tmp_path_factory.mktemp("admin")
    with start_broker(directory) as broker:
        yield broker_address(broker)


@pytest.fixture
def admin(address: str) -> Admin:
    return Admin(address)


def test_on_a_terminal_there_are_colours(admin: Admin) -> None:
    leader, follower = pty.openpty()
    env = os.environ | {"TQ_BROKER_ADDR": admin.address, "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(
        [program("tq-admin"), "health"], stdout=follower, stdin=follower, env=env
    ) as process:
        os.close(follower)
        shown = os.read(leader, 4096)
        process.wait(timeout=COMMAND_SECONDS_MAX)
    os.close(leader)
    assert b"\x1b[" in shown


def test_watch_prints_a_document_a_line_until_ctrl_c(admin: Admin) -> None:
    with admin.start("health", "--format", "json", "--watch", "0.1", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert [json.loads(line)["status"] for line in lines] == ["healthy"] * 3


def test_watch_repaints_a_terminal_until_ctrl_c(admin: Admin) -> None:
    leader, follower = pty.openpty()
    with admin.start("queue-depth", "--watch", "0.1", stdout=follower, stdin=follower) as process:
        os.close(follower)
        shown = b""
        while shown.count(b"PRIORITY") < 3:
            shown += os.read(leader, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0
    os.close(leader)


def test_watch_waits_for_a_broker_that_went_away(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        where = broker_address(broker)
        with Admin(where).start("health", "--format", "json", "--watch", "0.1", "--timeout", "0.3",
                      stdout=subprocess.PIPE) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            broker.stop()
            assert b"waiting for it" in process.stderr.readline()
            port = int(where.rpartition(":")[2])
            with start_broker(tmp_path, port=port, log_path=tmp_path / "second.log") as second:
                broker_address(second)
                while json.loads(process.stdout.readline())["status"] != "healthy":
                    pass
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0


def test_a_reader_that_had_enough_is_no_error(admin: Admin) -> None:
    with admin.start("health", "--format", "json", "--watch", "0.1", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
